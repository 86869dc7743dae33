//! The manifest: a checkpoint's table of contents, put last, and everything that makes one acceptable.
//!
//! What [`Manifest::parse`] returns has been checked so far that a reader can trust its names, sizes and ranges: the
//! file's own hash fits, no name leads out of the folder (their types see to that), and the slices of every tensor cover it once.

//!
//! - [`Manifest`]: the table, and what its entries say: [`ObjectEntry`], [`TensorEntry`], [`OptimizerSlice`].
//! - `seal`: the hash of the file within it.
//! - `checks`: what is read is held against itself.

mod checks;
mod contents;
mod entries;
mod seal;
#[cfg(test)]
mod tests;

pub use contents::{MANIFEST_VERSION, Manifest, ManifestError};
pub use entries::{ObjectEntry, OptimizerSlice, TensorEntry};
