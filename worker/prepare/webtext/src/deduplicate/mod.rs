//! Documents that are equal or nearly so, and which of them stays.

pub mod exact;
pub mod minhash;
pub mod normalise;
pub mod options;
pub mod permutations;
pub mod shingles;
pub mod url;

pub use minhash::{Scratch, Signature, Signer};
pub use normalise::Normaliser;
pub use options::MinHashOptions;
pub use permutations::{Permutation, Permutations};
pub use shingles::Shingles;
