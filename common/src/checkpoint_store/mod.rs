//! The checkpoints of a run in their store, as far as they can be used without tensors.
//!
//! - [`list`], [`newest`], [`Found`]: find checkpoints, by names alone.
//! - [`read_manifest`]: reads the table of contents of a checkpoint.
//! - [`commit()`]: turns a save into a checkpoint.
//! - [`prune()`]: deletes old checkpoints; [`Garbage`] decides which.
//! - [`verify()`], [`verify_objects`]: hash every byte of a checkpoint.
//! - [`copy()`]: copies a checkpoint to another run folder, in any store.
//!
//! Saving and restoring are in the worker, since they handle tensors.

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
pub use folder::{folder_of, read_manifest, run_of};
pub use found::Found;
#[cfg(test)]
pub(crate) use listing::list_in;
pub use listing::{list, newest};
#[cfg(test)]
pub(crate) use prune::prune_in;
pub use prune::{prune, prune_host, pruned};
pub use retention::{Garbage, ORPHAN_GRACE_S};
pub use verify::{verify, verify_objects};
