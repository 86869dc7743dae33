//! `[prepare]`: how documents become token shards.

use serde::{Deserialize, Serialize};

use super::absolute::absolute;
use super::section::Section;

/// Default of `prepare.overlap_share`. It may also be given where there is no filter, since resolved configs hold it.
const OVERLAP_SHARE: f64 = 0.1;

/// Section `[prepare]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrepareConfig {
    /// Storage URLs or local paths of objects, folders, or patterns with `*`, `?`, `[...]` and `**`. Reads `.txt` (one
    /// document), `.jsonl` and `.ndjson` (one document per line), all also with `.gz`, `.zst`, `.xz` or `.bz2`, and `.parquet`
    /// (one document per row). Reads `.md` as `.txt` where the input has this ending, too.
    pub inputs: Vec<String>,
    /// Folder that receives `train/` and `validation/`: a storage URL or local path.
    pub output: String,
    /// Field of a JSON line, or column of a Parquet file, that holds the text. Default `text`.
    pub text_field: String,
    /// Tokenizer: `gpt2`, or the path or URL of its files. Default `gpt2`.
    pub tokenizer: String,
    /// Number of tokens in a full token shard. Default 100,000,000.
    pub tokens_per_shard: u64,
    /// Fraction of the documents, or of the text of a lone one, that goes to validation. Default 0.005.
    pub validation_fraction: f64,
    /// Seed of the shuffle and the split. Default 1337.
    pub seed: u64,
    /// Size of the largest readable document, in bytes, since memory is bounded. A longer one counts as unreadable. Default
    /// 67,108,864 (64 MiB).
    pub max_document_bytes: u64,
    /// Memory of each rank for documents in work, in bytes. Documents larger than a twentieth of it are held in addition.
    /// Does not influence the output. Default 536,870,912 (512 MiB).
    pub memory_bytes: u64,
    /// What happens with an unreadable document. Default `fail`.
    pub on_bad_document: OnBadDocument,
    /// Storage URL or local path of a filter that `launcher eval --save-filter` has written, such as one of test sets:
    /// documents that overlap with it are left out. Empty for none. Default empty.
    pub overlap_filter: String,
    /// Share of a document's 8-grams, above 0 and at most 1, from which it overlaps with `overlap_filter`, and without that the
    /// default. Default 0.1.
    pub overlap_share: f64,
    /// Stages that documents go through before they are tokenized, in this order; section `[webtext]` has their rules.
    /// Default none.
    pub stages: Vec<StageName>,
}

/// Values of `prepare.stages`, in the order that they may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageName {
    /// Pages become documents: the main text of each.
    Extract,
    /// Rules keep a document, or drop it.
    Clean,
    /// Of documents that are equal or nearly so, one stays.
    Deduplicate,
    /// What documents share with evaluation sets is counted, and removed on request.
    Overlap,
}

impl StageName {
    /// Returns the name as the config has it.
    pub fn name(self) -> &'static str {
        match self {
            StageName::Extract => "extract",
            StageName::Clean => "clean",
            StageName::Deduplicate => "deduplicate",
            StageName::Overlap => "overlap",
        }
    }
}

/// Values of `prepare.on_bad_document`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadDocument {
    /// Ends with exit code 3 and names the document.
    Fail,
    /// Leaves the document out, counts it, and names it in the log.
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
            overlap_filter: section.or("overlap_filter", String::new()),
            overlap_share: section.or("overlap_share", OVERLAP_SHARE),
            stages: section.or("stages", Vec::new()),
        };
        section.require(
            config.stages.is_sorted_by(|one, next| one < next),
            "stages",
            shown(&config.stages),
            "each stage comes once, in the order of [\"extract\", \"clean\", \"deduplicate\", \"overlap\"]",
        );
        section.require(!config.inputs.is_empty(), "inputs", "[]", "is empty; give at least one");
        section.require(
            !config.tokenizer.is_empty(),
            "tokenizer",
            "\"\"",
            "names none; give \"gpt2\", or a path or URL",
        );
        let fraction = config.validation_fraction;
        section.require(fraction < 1.0, "validation_fraction", fraction, "must be below 1");
        let share = config.overlap_share;
        section.require(share > 0.0, "overlap_share", share, "must be above 0: every document has that share");
        let has_use = config.has_overlap_filter() || share == OVERLAP_SHARE || !section.is_sound("overlap_filter");
        let hint = "has no use without prepare.overlap_filter; give the filter that documents are compared with, or leave this out";
        section.require(has_use, "overlap_share", share, hint);
        config
    }

    /// Returns whether the inputs are pages, which the first stage turns into documents.
    pub fn reads_pages(&self) -> bool {
        self.stages.first() == Some(&StageName::Extract)
    }

    /// Returns whether documents that overlap with a filter are left out.
    pub fn has_overlap_filter(&self) -> bool {
        !self.overlap_filter.is_empty()
    }

    /// Returns the config with absolute paths, for processes in other folders. URLs and the name `gpt2` stay as they are.
    pub fn with_absolute_paths(&self) -> Self {
        let tokenizer = if self.tokenizer == "gpt2" { self.tokenizer.clone() } else { absolute(&self.tokenizer) };
        let inputs = self.inputs.iter().map(|input| absolute(input)).collect();
        let overlap_filter = if self.has_overlap_filter() { absolute(&self.overlap_filter) } else { String::new() };
        PrepareConfig { inputs, output: absolute(&self.output), tokenizer, overlap_filter, ..self.clone() }
    }
}

/// Formats stages as TOML.
fn shown(stages: &[StageName]) -> String {
    let names: Vec<String> = stages.iter().map(|stage| format!("{:?}", stage.name())).collect();
    format!("[{}]", names.join(", "))
}
