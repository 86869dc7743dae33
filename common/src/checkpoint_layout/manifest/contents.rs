//! The table of contents, and its file.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::name::CheckpointName;
use super::entries::{ObjectEntry, OptimizerSlice, TensorEntry};
use super::seal::seal;
use crate::config::ConfigChange;

/// Version of the format that this program writes and reads.
pub const MANIFEST_VERSION: u32 = 1;
/// Table of contents of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format: [`MANIFEST_VERSION`].
    pub version: u32,
    /// Name of the checkpoint, which shows whether a manifest was copied into another folder.
    pub name: CheckpointName,
    /// Number of sequences consumed so far: the whole cursor of the token stream.
    pub sequences_consumed: u64,
    /// Number of updates made so far. It is less than the number of steps if updates were skipped because gradients were not
    /// finite, or outliers.
    pub updates: u64,
    /// Window of recent gradient norms for outlier detection, oldest first; empty if that is disabled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grad_norms: Vec<f64>,
    /// Number of updates skipped since the last one made. Too many in a row end a run.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped_in_a_row: u64,
    /// Changes of the config in the middle of the run, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ConfigChange>,
    /// Number of ranks that saved.
    pub world_size: u32,
    /// Hash of the tokenizer that the token shards were made with.
    pub tokenizer_hash: String,
    /// Number of sequences in the training data, on which the order of consumption depends.
    pub data_sequences: u64,
    /// Version of the order in which Convoy consumes the data. Manifests that do not say have the first.
    #[serde(default = "first_order")]
    pub data_order: u32,
    /// Resolved config, as TOML.
    pub config: String,
    /// Every object of the checkpoint except the manifest.
    pub objects: Vec<ObjectEntry>,
    /// Place of each tensor of the weights.
    pub tensors: Vec<TensorEntry>,
    /// Place of the optimizer's moments. The slices of a tensor together cover it exactly once.
    pub optimizer: Vec<OptimizerSlice>,
}

fn first_order() -> u32 {
    1
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Manifest {
    /// Returns the bytes of `manifest.json`: JSON, whose last field is the SHA-256 of all bytes before it.
    pub fn to_json(&self) -> Bytes {
        let json = serde_json::to_string_pretty(self).unwrap_or_else(|e| unreachable!("a manifest is JSON: {e}"));
        seal(json.trim_end_matches("\n}"))
    }
}

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
#[error("{url}: not a manifest that can be trusted: {reason}; restore another checkpoint, or copy this one again")]
pub struct ManifestError {
    /// URL of the manifest.
    pub url: String,
    /// What is wrong with the manifest.
    pub reason: String,
}
