//! Names, manifest and retention of checkpoints. docs/checkpoint-format.md is the specification.
//!
//! Each save owns a folder `checkpoints/step-00001000-a0003-<id>/` with fixed names inside. The manifest is put last
//! and create-only: a folder without one does not exist for a reader. The newest checkpoint is the highest
//! (step, attempt) that has a manifest, found by listing; there is no mutable pointer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Name of the manifest in a checkpoint's folder.
pub const MANIFEST_NAME: &str = "manifest.json";
/// Folder of the checkpoints in a run's folder.
pub const CHECKPOINTS_FOLDER: &str = "checkpoints";

/// The identity of one save.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CheckpointName {
    /// Completed steps.
    pub step: u64,
    /// The attempt that saved it.
    pub attempt: u32,
    /// Random, so that no two saves share a folder.
    pub id: String,
}

impl fmt::Display for CheckpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step-{:08}-a{:04}-{}", self.step, self.attempt, self.id)
    }
}

impl CheckpointName {
    /// Reads a folder's name; `None` if it is no checkpoint's.
    pub fn parse(folder: &str) -> Option<Self> {
        let mut parts = folder.strip_prefix("step-")?.splitn(3, '-');
        let step = parts.next()?.parse().ok()?;
        let attempt = parts.next()?.strip_prefix('a')?.parse().ok()?;
        let id = parts.next().filter(|id| !id.is_empty())?.to_owned();
        Some(CheckpointName { step, attempt, id })
    }
}

/// The table of contents of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this structure, 1.
    pub version: u32,
    /// Whose folder this is in; a manifest that was copied elsewhere does not fit.
    pub name: CheckpointName,
    /// Sequences consumed so far: the whole cursor of the token stream.
    pub sequences_consumed: u64,
    /// Updates made so far: fewer than steps where some were skipped because their gradients were not finite.
    pub updates: u64,
    /// Number of ranks that saved.
    pub world_size: u32,
    /// Hash of the tokenizer that the shards were made with.
    pub tokenizer_hash: String,
    /// The resolved config as TOML.
    pub config: String,
    /// Every object of the checkpoint but this one.
    pub objects: Vec<ObjectEntry>,
    /// Where the optimizer's moments lie; together the slices of a tensor cover it once.
    pub optimizer: Vec<OptimizerSlice>,
}

/// One object of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEntry {
    /// Name in the checkpoint's folder.
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// SHA-256 of the whole, in hex.
    pub sha256: String,
    /// SHA-256 of each block of [`crate::token_shard::BLOCK_BYTES`], in hex.
    pub block_sha256: Vec<String>,
}

/// A contiguous part of one tensor's two moments, both float32, in one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptimizerSlice {
    /// Name of the parameter, as Hugging Face has it.
    pub tensor: String,
    /// First element, counted in the row-major, unpadded tensor.
    pub start: u64,
    /// One past the last element.
    pub end: u64,
    /// The safetensors object that holds it.
    pub object: String,
    /// Key of the first moment in it.
    pub exp_avg: String,
    /// Key of the second moment in it.
    pub exp_avg_sq: String,
}
