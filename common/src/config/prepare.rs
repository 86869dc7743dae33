//! `[prepare]`: documents to token shards.

use serde::{Deserialize, Serialize};

use super::section::Section;

/// `[prepare]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrepareConfig {
    /// Storage URLs or local paths of objects, of folders, or of patterns with `*`, `?`, `[...]` and `**`. Read are `.txt`
    /// (one document), `.jsonl` (one a line), both also as `.gz`, `.zst`, `.xz` and `.bz2`, and `.parquet` (one a row).
    pub inputs: Vec<String>,
    /// The folder that receives `train/` and `validation/`: a storage URL or local path.
    pub output: String,
    /// The field of a JSON line, or the column of a Parquet file, that holds the text. Default `text`.
    pub text_field: String,
    /// The tokenizer: `gpt2`, or the path or URL of its files. Default `gpt2`.
    pub tokenizer: String,
    /// Tokens of a full shard. Default 100,000,000.
    pub tokens_per_shard: u64,
    /// Fraction of the documents that goes to validation. Default 0.005.
    pub validation_fraction: f64,
    /// Seed of the shuffle and the split. Default 1337.
    pub seed: u64,
    /// A longer document counts as one that cannot be read, since memory is bounded. Default 67,108,864 (64 MiB).
    pub max_document_bytes: u64,
    /// What each rank may hold in memory of what it works on; documents of more than a twentieth of it come on top. It
    /// has no influence on what is written. Default 536,870,912 (512 MiB).
    pub memory_bytes: u64,
    /// What to do with a document that cannot be read. Default `fail`.
    pub on_bad_document: OnBadDocument,
}

/// `prepare.on_bad_document`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadDocument {
    /// End with exit code 3, naming it.
    Fail,
    /// Leave it out, count it, name it in the log.
    Skip,
}

impl PrepareConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let config = PrepareConfig {
            inputs: section.required("inputs", "give inputs = [\"path or URL\", ...]"),
            output: section.required("output", "give the folder for the shards, such as \"data/webtext\""),
            text_field: section.or("text_field", "text".to_owned()),
            tokenizer: section.or("tokenizer", "gpt2".to_owned()),
            tokens_per_shard: section.or("tokens_per_shard", 100_000_000),
            validation_fraction: section.or("validation_fraction", 0.005),
            seed: section.or("seed", 1337),
            max_document_bytes: section.or("max_document_bytes", 64 << 20),
            memory_bytes: section.or("memory_bytes", 512 << 20),
            on_bad_document: section.or("on_bad_document", OnBadDocument::Fail),
        };
        section.require(!config.inputs.is_empty(), "inputs", "[]", "is empty; give at least one");
        section.require(
            !config.tokenizer.is_empty(),
            "tokenizer",
            "\"\"",
            "names none; give \"gpt2\", or a path or URL",
        );
        let fraction = config.validation_fraction;
        section.require(fraction < 1.0, "validation_fraction", fraction, "must be below 1");
        config
    }

    /// The same with absolute paths, for processes in other folders. URLs and the name `gpt2` stay as they are.
    pub fn with_absolute_paths(&self) -> Self {
        let absolute = |given: &String| match std::path::absolute(given) {
            Ok(path) if !given.contains("://") => path.display().to_string(),
            _ => given.clone(),
        };
        let tokenizer = if self.tokenizer == "gpt2" { self.tokenizer.clone() } else { absolute(&self.tokenizer) };
        let inputs = self.inputs.iter().map(absolute).collect();
        PrepareConfig { inputs, output: absolute(&self.output), tokenizer, ..self.clone() }
    }
}
