//! What a checkpoint looks like in storage: names and contents. Pure: nothing here does I/O.
//! docs/checkpoint-format.md is the specification.
//!
//! Each save owns a folder `checkpoints/step-00001000-a0003-<id>/` with fixed names inside. The manifest is put last
//! and create-only: a folder without one does not exist for a reader. The newest checkpoint is the highest
//! (step, attempt) that has a manifest and is not void, found by listing; there is no mutable pointer.
//!
//! - [`CheckpointName`]: the name of a save's folder.
//! - [`manifest`]: the table of contents and everything that makes one acceptable.
//! - [`save_plan`]: which rank writes what.
//! - [`tensor_file`]: what lies where in a file of tensors.
//! - [`hugging_face`]: the files that make the folder open in `transformers`.
//!
//! What is done with checkpoints in a store, without tensors, and which of them stay, is in [`crate::checkpoint_store`].

pub mod hugging_face;
pub mod manifest;
mod name;
pub mod save_plan;
pub mod tensor_file;

use crate::topology::{Rank, WorldSize};

pub use manifest::{Manifest, ManifestError, ObjectEntry, OptimizerSlice, TensorEntry};
pub use name::CheckpointName;
pub(crate) use name::TAG_CHARACTERS;
pub use save_plan::{ParameterShape, RankShare, SliceRange, plan_save};

/// Name of the manifest in a checkpoint's folder.
pub const MANIFEST_NAME: &str = "manifest.json";
/// Folder of the checkpoints in a run's folder.
pub const CHECKPOINTS_FOLDER: &str = "checkpoints";

/// The folder of `rank` on its host, in that of the run: laid out as a run's folder, with this rank's objects alone in its
/// checkpoints.
pub fn host_folder(rank: Rank, world: WorldSize) -> String {
    format!("rank-{:05}-of-{world:05}", rank.index() + 1)
}
