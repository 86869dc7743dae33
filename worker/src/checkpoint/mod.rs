//! Writing and reading checkpoints, on the host: float32 values in memory in, the same out, no tensors.
//! `common::checkpoint_layout` has the names and the manifest; docs/checkpoint-format.md is the specification.
//!
//! - [`write`](mod@write): every rank writes its share with [`write_rank`], rank 0 makes it a checkpoint with [`commit_as_holder`].
//! - [`read`]: the newest checkpoint is found, and parts of its tensors read, whatever world size wrote it.
//! - [`local`]: what a rank keeps on its own host, between the checkpoints in the run folder.
//! - `transfer`: objects are read in ranges, several at once, each verified against the manifest's hashes.
//! - `pace`: how fast a rank may write.
//! - [`error`]: why a checkpoint could not be saved or restored.
//!
//! What needs no tensors is in [`common::checkpoint_store`]. Absent on purpose: the decision when to save, the copy from the device, and
//! what ranks exchange around a save, which are [`crate::saving`]'s.

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
