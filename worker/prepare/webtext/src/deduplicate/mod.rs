//! Documents that are equal or nearly so, and which of them stays.

pub mod normalise;

pub use normalise::Normaliser;
