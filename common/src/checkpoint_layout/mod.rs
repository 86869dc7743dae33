//! Names and contents of checkpoints in storage. Pure: nothing here does I/O. docs/checkpoint-format.md is the specification.
//!
//! Each save owns a folder `checkpoints/step-00001000-a0003-<id>/` with fixed names inside. The manifest is put last and
//! create-only: a folder without one does not exist for a reader. The newest checkpoint is the highest (step, attempt) that
//! has a manifest and is not void, found by listing. There is no mutable pointer.
//!
//! - [`CheckpointName`]: name of a save's folder, and the names around it and in it.
//! - [`manifest`]: table of contents, and the checks that make one acceptable.
//! - [`save_plan`]: which rank saves what.
//! - [`tensor_file`]: layout of a file of tensors.
//! - [`hugging_face`]: files that let `transformers` open the folder.
//!
//! Operations on checkpoints in a store, without tensors, and the choice of those that stay are in
//! [`crate::checkpoint_store`].

pub mod hugging_face;
pub mod manifest;
mod name;
pub mod save_plan;
pub mod tensor_file;

pub use manifest::{Manifest, ManifestError, ObjectEntry, OptimizerSlice, TensorEntry};
pub(crate) use name::TAG_CHARACTERS;
pub use name::{CHECKPOINTS_FOLDER, CheckpointName, EVALUATIONS_FOLDER, MANIFEST_NAME, host_folder};
pub use save_plan::{ParameterShape, RankShare, SliceRange, plan_save};
