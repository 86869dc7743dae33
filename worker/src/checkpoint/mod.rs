//! Writing and reading checkpoints on the host, as float32 values in memory and not as tensors.
//! `common::checkpoint_layout` has the names and the manifest; docs/checkpoint-format.md is the specification.
//!
//! - [`write`](mod@write): every rank writes its share with [`write_rank`]; rank 0 commits them with
//!   [`commit_as_holder`].
//! - [`read`]: finds the newest checkpoint and reads parts of its tensors, independent of the world size that wrote
//!   it.
//! - [`local`]: checkpoints on each rank's own host, between those in the run folder.
//! - `transfer`: reads objects in ranges, several at once, each verified against the manifest's hashes.
//! - `pace`: limits how fast a rank writes.
//! - [`error`]: why a checkpoint could not be saved or restored.
//!
//! Operations without tensors are in [`common::checkpoint_store`]. Absent on purpose, and in [`crate::saving`]
//! instead: the decision when to save, the copy from the device, and the exchange between ranks around a save.

pub mod error;
pub mod local;
mod pace;
pub mod read;
mod transfer;
pub mod write;

pub use common::checkpoint_store::{folder_of, list, prune};
pub use error::CheckpointError;
pub use local::{HostFolder, Tier};
pub use read::{
    Quantity, RestoredState, Search, Tensors, Wanted, check_model, newest_manifest, read_manifest, read_parts,
    read_state, read_weights,
};
pub use write::{
    ManifestHeader, Place, RankLayout, RankObjects, RankSnapshot, commit, commit_as_holder, new_name, write_rank,
};

#[cfg(test)]
mod tests;
