//! Documents that are equal or nearly so, and which of them stays.

pub mod exact;
pub mod file;
mod merge;
pub mod minhash;
pub mod normalise;
pub mod options;
pub mod permutations;
pub mod record;
pub mod shingles;
mod sort;
pub mod url;

pub use file::{Content, FileError, FileReader, FileWriter};
pub use merge::Merge;
pub use minhash::{Scratch, Signature, Signer};
pub use normalise::Normaliser;
pub use options::MinHashOptions;
pub use permutations::{Permutation, Permutations};
pub use shingles::Shingles;
pub use sort::{InMemory, Runs, Sorter};
