//! `[data]`: where the token shards are.

use serde::{Deserialize, Serialize};

use super::section::Section;

/// `[data]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataConfig {
    /// The tokenizer that the shards must have been made with: `gpt2`, or the path or URL of its files. Default `gpt2`.
    pub tokenizer: String,
    /// Where to train: a folder of shards with its `index.json`; one data set today.
    pub train: Vec<DataSource>,
    /// Where to validate; empty for none.
    pub validation: Vec<DataSource>,
    /// The most memory that shards read ahead may take on a rank. Default 256 MiB.
    pub prefetch_bytes: u64,
}

/// One data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSource {
    /// A storage URL or local path of a folder with `index.json`.
    pub url: String,
}

impl DataConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let data = DataConfig {
            tokenizer: section.or("tokenizer", "gpt2".to_owned()),
            train: section.required("train", "give train = [{ url = \"...\" }], a folder that prepare wrote"),
            validation: section.or("validation", Vec::new()),
            prefetch_bytes: section.or("prefetch_bytes", 256 << 20),
        };
        section.require(!data.tokenizer.is_empty(), "tokenizer", "\"\"", "names none; give \"gpt2\", or a path or URL");
        section.require(data.train.len() == 1, "train", data.train.len(), "data sets; give exactly one");
        section.require(data.validation.len() <= 1, "validation", data.validation.len(), "data sets; give one or none");
        let least = 8 << 20;
        section.require(
            data.prefetch_bytes >= least,
            "prefetch_bytes",
            data.prefetch_bytes,
            format!("must be at least {least} (8 MiB)"),
        );
        data
    }
}
