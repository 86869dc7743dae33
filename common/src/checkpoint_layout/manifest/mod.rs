//! The manifest: the table of contents of a checkpoint, put last, and the checks that make one acceptable.
//!
//! [`Manifest::parse`] checks so much that a reader can trust names, sizes and ranges: the file's own hash matches, no name
//! leads out of the folder (their types see to that), and the slices of every tensor cover it exactly once.
//!
//! - [`Manifest`]: the table; [`ObjectEntry`], [`TensorEntry`], [`OptimizerSlice`]: its entries.
//! - `seal`: the file's hash within the file.
//! - `checks`: consistency of what is read.

mod checks;
mod contents;
mod entries;
mod seal;
#[cfg(test)]
mod tests;

pub use contents::{MANIFEST_VERSION, Manifest, ManifestError};
pub use entries::{ObjectEntry, OptimizerSlice, TensorEntry};
