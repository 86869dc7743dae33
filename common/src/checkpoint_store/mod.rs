//! The checkpoints of a run as they lie in its store: what anyone can do with them who has no tensors.
//!
//! - [`list`], [`newest`], [`Found`]: what is there, by names alone.
//! - [`read_manifest`]: the table of contents of one.
//! - [`commit()`]: a save becomes one.
//! - [`prune()`]: old ones go, [`Garbage`] says which.
//! - [`verify()`], [`verify_objects`]: every byte of one is hashed.
//! - [`copy()`]: one goes to another run folder, in whatever store that is.
//!
//! Saving and restoring are the worker's: they are about tensors.

mod commit;
mod copy;
mod error;
mod folder;
mod found;
mod listing;
mod prune;
mod retention;
#[cfg(test)]
mod tests;
mod verify;

pub use commit::commit;
#[cfg(test)]
pub(crate) use commit::commit_in;
pub use copy::copy;
pub use error::CheckpointStoreError;
#[cfg(test)]
pub(crate) use folder::path_of;
pub use folder::{folder_of, read_manifest};
pub use found::Found;
#[cfg(test)]
pub(crate) use listing::list_in;
pub use listing::{list, newest};
#[cfg(test)]
pub(crate) use prune::prune_in;
pub use prune::{prune, prune_host, pruned};
pub use retention::{Garbage, ORPHAN_GRACE_S};
pub use verify::{verify, verify_objects};
