//! What a checkpoint looks like in storage: names and contents. Pure: nothing here does I/O.
//! docs/checkpoint-format.md is the specification.
//!
//! Each save owns a folder `checkpoints/step-00001000-a0003-<id>/` with fixed names inside. The manifest is put last
//! and create-only: a folder without one does not exist for a reader. The newest checkpoint is the highest
//! (step, attempt) that has a manifest and is not void, found by listing; there is no mutable pointer.
//!
//! - [`CheckpointName`]: the name of a save's folder; names of what is around it and in it.
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

pub use manifest::{Manifest, ManifestError, ObjectEntry, OptimizerSlice, TensorEntry};
pub(crate) use name::TAG_CHARACTERS;
pub use name::{CHECKPOINTS_FOLDER, CheckpointName, MANIFEST_NAME, host_folder};
pub use save_plan::{ParameterShape, RankShare, SliceRange, plan_save};
