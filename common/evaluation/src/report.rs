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

/// Characters of the training data's hash in the name of a report.
const NAME_CHARACTERS: usize = 16;

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

impl Report {
    /// Returns the name of the report beside the scores. Reports of other limits, and of the overlap with other training data,
    /// have other names.
    pub fn object_name(&self) -> String {
        let limited = self.limit.map(|limit| format!("-of-first-{limit}")).unwrap_or_default();
        let overlap = self.without_overlap.as_ref().map(|without| {
            let hash = &without.overlap.filter_sha256;
            format!("-with-overlap-{}", hash.get(..NAME_CHARACTERS).unwrap_or(hash))
        });
        format!("results{limited}{}.json", overlap.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlap::TaskOverlap;

    fn report() -> Report {
        let settings = Settings {
            convoy: "1".to_owned(),
            task: "ptb".to_owned(),
            data_sha256: "a".to_owned(),
            lines: None,
            manifest_sha256: "b".to_owned(),
            tokenizer_hash: "c".to_owned(),
            shots: 0,
            window_tokens: 8,
            stride_tokens: 8,
            on_long: OnLong::Truncate,
            device: "cpu".to_owned(),
            threads_per_rank: 1,
        };
        let results = Results {
            task: "ptb".to_owned(),
            items: 0,
            tokens: 0,
            log_likelihood: 0.0,
            words: 0,
            characters: 0,
            bytes: 0,
            metrics: Vec::new(),
            truncated: Vec::new(),
            skipped: Vec::new(),
            empty: Vec::new(),
        };
        Report {
            checkpoint: "file:///c".to_owned(),
            parameters: 1,
            data: "file:///d".to_owned(),
            is_official: None,
            limit: None,
            settings,
            seconds: 1.0,
            results,
            without_overlap: None,
        }
    }

    #[test]
    fn reports_of_the_overlap_with_other_training_data_have_other_names() {
        let mut report = report();
        assert_eq!(report.object_name(), "results.json");
        let results = report.results.clone();
        let overlap = TaskOverlap { task: "ptb".to_owned(), items: Vec::new() };
        let mut name = |hash: &str| {
            let overlap = overlap.summary("file:///d", ("web", hash));
            report.without_overlap = Some(WithoutOverlap { overlap, results: results.clone() });
            report.limit = Some(20);
            report.object_name()
        };
        assert_eq!(name(&"5e".repeat(32)), "results-of-first-20-with-overlap-5e5e5e5e5e5e5e5e.json");
        assert_ne!(name(&"5e".repeat(32)), name(&"5f".repeat(32)));
        assert_eq!(name("é"), "results-of-first-20-with-overlap-é.json");
    }
}
