//! The table of contents itself, and the file that it becomes.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::name::CheckpointName;
use super::entries::{ObjectEntry, OptimizerSlice, TensorEntry};
use super::seal::seal;
use crate::config::ConfigChange;

/// Version of the format that this program writes and reads.
pub const MANIFEST_VERSION: u32 = 1;
/// The table of contents of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub version: u32,
    /// Whose folder this is in; a manifest that was copied elsewhere does not fit.
    pub name: CheckpointName,
    /// Sequences consumed so far: the whole cursor of the token stream.
    pub sequences_consumed: u64,
    /// Updates made so far: fewer than steps where some were skipped because their gradients were not finite, or outliers.
    pub updates: u64,
    /// Norms of the last steps' gradients, oldest first, where outliers are told from them; otherwise empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grad_norms: Vec<f64>,
    /// How many updates were skipped since the last that was not; so many in a row end a run.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped_in_a_row: u64,
    /// What was changed in the config in the middle of the run, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ConfigChange>,
    /// Number of ranks that saved.
    pub world_size: u32,
    /// Hash of the tokenizer that the shards were made with.
    pub tokenizer_hash: String,
    /// Sequences of the training data: the order in which they are consumed is a function of it.
    pub data_sequences: u64,
    /// Which of Convoy's orders of the data that is; manifests that do not say are of the first.
    #[serde(default = "first_order")]
    pub data_order: u32,
    /// The resolved config as TOML.
    pub config: String,
    /// Every object of the checkpoint but this one.
    pub objects: Vec<ObjectEntry>,
    /// Where the weights lie.
    pub tensors: Vec<TensorEntry>,
    /// Where the optimizer's moments lie; together the slices of a tensor cover it once.
    pub optimizer: Vec<OptimizerSlice>,
}

fn first_order() -> u32 {
    1
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Manifest {
    /// The manifest as the bytes of `manifest.json`: JSON, whose last field is the SHA-256 of all bytes before it.
    pub fn to_json(&self) -> Bytes {
        let json = serde_json::to_string_pretty(self).unwrap_or_else(|e| unreachable!("a manifest is JSON: {e}"));
        seal(json.trim_end_matches("\n}"))
    }
}

/// Why a manifest is not accepted.
#[derive(Debug, thiserror::Error)]
#[error("{url}: not a manifest that can be trusted: {reason}; restore another checkpoint, or copy this one again")]
pub struct ManifestError {
    /// The manifest.
    pub url: String,
    /// What is wrong with it.
    pub reason: String,
}
