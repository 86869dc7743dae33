//! What an evaluation keeps of a task: its results, with everything that their digits depend on.

use serde::{Deserialize, Serialize};

use crate::metrics::Results;
use crate::overlap::OverlapSummary;
use crate::tokens::OnLong;

/// Everything that the digits of a task's scores depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Version of Convoy.
    pub convoy: String,
    /// Name of the task.
    pub task: String,
    /// SHA-256 of the task's data file.
    pub data_sha256: String,
    /// Number of lines that are read at most of a task that is one whole text; `None` for all.
    pub lines: Option<usize>,
    /// SHA-256 of the checkpoint's manifest.
    pub manifest_sha256: String,
    /// Hash of the tokenizer.
    pub tokenizer_hash: String,
    /// Examples in front of each item.
    pub shots: usize,
    /// Tokens that a window over a text feeds the model at most.
    pub window_tokens: usize,
    /// Tokens that each window over a text but the first predicts at most.
    pub stride_tokens: usize,
    /// What is done with items that do not fit.
    pub on_long: OnLong,
    /// Where the model runs: `cpu` or `cuda`.
    pub device: String,
    /// Compute threads of each rank.
    pub threads_per_rank: u32,
}

/// Overlap of a task with training data, and what is left of its results without it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WithoutOverlap {
    /// The overlap.
    pub overlap: OverlapSummary,
    /// Results of the items without a gram that was found.
    pub results: Results,
}

/// Results of a task, and what they were measured with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// URL of the checkpoint.
    pub checkpoint: String,
    /// Number of the model's parameters.
    pub parameters: u64,
    /// URL of the data file.
    pub data: String,
    /// Whether the data file is the official one, where its hash is known.
    pub is_official: Option<bool>,
    /// Number of items that were asked for at most; `None` for all.
    pub limit: Option<usize>,
    /// Settings of the scores.
    pub settings: Settings,
    /// Duration, in seconds, of the attempt that ended the evaluation, over all of its tasks.
    pub seconds: f64,
    /// The results.
    pub results: Results,
    /// Results without the items that overlap with training data, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_overlap: Option<WithoutOverlap>,
}
