//! `[data]`: location of the token shards.

use serde::{Deserialize, Serialize};

use super::section::Section;

/// Section `[data]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataConfig {
    /// Tokenizer that the token shards must have been made with: `gpt2`, or the path or URL of its files. Default `gpt2`.
    pub tokenizer: String,
    /// Data sets to train on, mixed by their weights.
    pub train: Vec<DataSource>,
    /// Data sets to validate on; empty for none.
    pub validation: Vec<DataSource>,
    /// Most memory for token shards read ahead, per rank, in bytes. Default 268,435,456 (256 MiB).
    pub prefetch_bytes: u64,
    /// Local folder that caches, for all ranks of a node, the parts of token shards that do not lie on a local disk. Empty
    /// stands for `convoy-blocks-` and the user's number, in the system's temporary folder. Default empty.
    pub cache_dir: String,
    /// Most bytes that the cache may hold; 0 disables it. Default 17,179,869,184 (16 GiB).
    pub cache_bytes: u64,
}

/// Smallest share of the consumed sequences that a data set may have.
const LEAST_SHARE: f64 = 1e-3;

/// A data set and its weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSource {
    /// Storage URL or local path: a folder with `index.json`, or token files of other programs (a file, a folder, or a
    /// pattern that ends in `.bin`).
    pub url: String,
    /// Share of sequences from this data set, relative to the weights of the others. Default 1.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

impl DataConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let data = DataConfig {
            tokenizer: section.or("tokenizer", "gpt2".to_owned()),
            train: section.required("train", "give train = [{ url = \"...\" }], a folder that prepare wrote"),
            validation: section.or("validation", Vec::new()),
            prefetch_bytes: section.or("prefetch_bytes", 256 << 20),
            cache_dir: section.or("cache_dir", String::new()),
            cache_bytes: section.or("cache_bytes", 16 << 30),
        };
        section.require(!data.tokenizer.is_empty(), "tokenizer", "\"\"", "names none; give \"gpt2\", or a path or URL");
        section.require(!data.train.is_empty(), "train", "[]", "is empty; give at least one");
        let weights = data.train.iter().map(|source| source.weight);
        let (sum, least) = (weights.clone().sum::<f64>(), weights.clone().fold(f64::INFINITY, f64::min));
        section.require(
            data.train.is_empty() || (least / sum >= LEAST_SHARE && sum.is_finite()),
            "train",
            format!("weights {:?}", weights.collect::<Vec<_>>()),
            format!("must be numbers above 0, each at least {LEAST_SHARE} of their sum"),
        );
        section.require(data.validation.len() <= 1, "validation", data.validation.len(), "data sets; give one or none");
        data
    }
}
