//! The record `prepare.json`: what was prepared from what, for programs. It also identifies a folder that is prepared
//! already.

use std::collections::BTreeMap;

use bytes::Bytes;
use common::config::PrepareConfig;
use common::secrets::without_secrets;
use common::sha256::hex_sha256;
use common::storage::Folder;
use common::token_shard::{INDEX_NAME, Index};
use common::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::inputs::{Fault, Found};
use crate::overlap::OverlapFilter;
use crate::sides::Division;
use crate::stages::plan::PlannedStage;
use crate::stages::summary::StageSummary;
use crate::tally::Tally;
use crate::{PrepareError, TRAIN_FOLDER, VALIDATION_FOLDER};

/// Name of the record in `prepare.output`.
pub const RECORD_NAME: &str = "prepare.json";
/// Version of [`Record`], and of how a config and inputs become units, batches, runs and shards.
const VERSION: u32 = 4;

/// Keys of `[prepare]` that do not describe the data.
const OUTSIDE_RECORD: [&str; 2] = ["output", "memory_bytes"];

/// Keys of `[prepare]` that say nothing where no filter is given.
const OF_OVERLAP: [&str; 2] = ["overlap_filter", "overlap_share"];

/// Everything that determines the bytes which are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// SHA-256 of `[prepare]` as JSON. It leaves out `output`, since a copy of the folder stays valid, `on_bad_document` and
    /// `memory_bytes`, which decide whether something is written, but not what, and `overlap_filter`, whose contents count.
    pub config_sha256: String,
    /// SHA-256 of the list of objects with their sizes and versions.
    pub inputs_sha256: String,
    /// [`OverlapFilter::sha256`] of the filter of texts with which documents must not overlap; `None` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_filter_sha256: Option<String>,
    /// [`PlannedStage::sha256`] of the last stage, which stands for all of them and their rules; `None` without stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stages_sha256: Option<String>,
}

impl Identity {
    /// Computes the identity of a job.
    pub fn of(config: &PrepareConfig, found: &[Found], plan: &[PlannedStage], filter: Option<&OverlapFilter>) -> Self {
        let config = shown(config, &[&OUTSIDE_RECORD[..], &["on_bad_document", "overlap_filter"]].concat());
        Identity {
            config_sha256: hash_of(&config),
            inputs_sha256: hash_of(&found),
            overlap_filter_sha256: filter.map(|filter| filter.sha256().to_owned()),
            stages_sha256: plan.last().map(|stage| stage.sha256.to_string()),
        }
    }

    /// Returns the name of a job's work folder: what one job has encoded is of no use to another.
    pub fn of_work(&self, tokenizer: &Tokenizer, division: Division) -> String {
        hash_of(&(VERSION, self, tokenizer.hash(), division))[..16].to_owned()
    }
}

/// Returns `[prepare]` as JSON, without the keys in `without`, and those of overlap and stages where there are none. Signatures in
/// URLs are left out: they are secret, and change from day to day for an object.
fn shown(config: &PrepareConfig, without: &[&str]) -> Value {
    let plain = |url: &String| without_secrets(url).into_owned();
    let of_overlap: &[&str] = if config.has_overlap_filter() { &[] } else { &OF_OVERLAP };
    let of_stages: &[&str] = if config.stages.is_empty() { &["stages"] } else { &[] };
    let inputs = config.inputs.iter().map(plain).collect();
    let (tokenizer, overlap_filter) = (plain(&config.tokenizer), plain(&config.overlap_filter));
    let config = PrepareConfig { inputs, tokenizer, overlap_filter, ..config.clone() };
    let mut shown = serde_json::to_value(config).unwrap_or_else(|e| unreachable!("a config is JSON: {e}"));
    for key in without.iter().chain(of_overlap).chain(of_stages) {
        shown.as_object_mut().map(|config| config.remove(*key));
    }
    shown
}

fn hash_of(value: &impl Serialize) -> String {
    hex_sha256(&serde_json::to_vec(value).unwrap_or_else(|e| unreachable!("it is JSON: {e}")))
}

/// Totals of the prepared data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Number of objects that were read.
    pub objects: u64,
    /// Size of these objects in bytes, as they are stored.
    pub object_bytes: u64,
    /// Number of documents that were kept, on both sides.
    pub documents: u64,
    /// Bytes of their text in UTF-8.
    pub text_bytes: u64,
    /// Number of documents without text, which were left out.
    pub empty_documents: u64,
    /// Number of documents that could not be read and were left out.
    pub skipped_documents: u64,
    /// Number of documents that overlap with `prepare.overlap_filter` and were left out; `None` without a filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlapping_documents: Option<u64>,
    /// Number of skipped documents by fault.
    pub skipped: BTreeMap<Fault, u64>,
    /// Totals of the training side.
    pub train: SideTotals,
    /// Totals of the validation side; `None` where there is none.
    pub validation: Option<SideTotals>,
}

impl Totals {
    /// Combines what was found, what became of it, and the totals of both sides. `has_filter` says whether documents could
    /// overlap with a filter.
    pub fn of(
        found: &[Found],
        tally: &Tally,
        has_filter: bool,
        (train, validation): (SideTotals, Option<SideTotals>),
    ) -> Self {
        Totals {
            objects: found.len() as u64,
            object_bytes: found.iter().map(|f| f.bytes).sum(),
            documents: tally.documents,
            text_bytes: tally.text_bytes,
            empty_documents: tally.empty,
            skipped_documents: tally.bad_documents(),
            overlapping_documents: has_filter.then_some(tally.overlapping),
            skipped: tally.bad.clone(),
            train,
            validation,
        }
    }

    /// Returns the tokens of both sides, with the end-of-text before each document.
    pub fn tokens(&self) -> u64 {
        self.train.tokens.saturating_add(self.validation.as_ref().map_or(0, |side| side.tokens))
    }
}

/// Totals of one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideTotals {
    /// Number of documents.
    pub documents: u64,
    /// Number of tokens, with the end-of-text before each document.
    pub tokens: u64,
    /// Number of token shards.
    pub shards: u64,
}

impl SideTotals {
    /// Returns the totals of an index.
    pub fn of(index: &Index) -> Self {
        SideTotals { documents: index.documents, tokens: index.tokens, shards: index.shards.len() as u64 }
    }
}

/// Objects of one input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputTotals {
    /// Input as in the config, without what is secret in a URL.
    pub input: String,
    /// Number of objects in the input.
    pub objects: u64,
    /// Size of these objects in bytes.
    pub bytes: u64,
}

/// Content of `prepare.json`. It does not depend on when and by how many ranks the data was made, apart from the processor time
/// of stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Version of this structure.
    pub version: u32,
    /// Version of Convoy.
    pub convoy: String,
    /// Identity of the job.
    #[serde(flatten)]
    pub identity: Identity,
    /// `[prepare]` with every default filled in, except `output` and `memory_bytes`.
    pub config: Value,
    /// Hash of the tokenizer.
    pub tokenizer_hash: String,
    /// Inputs that were read.
    pub inputs: Vec<InputTotals>,
    /// Totals of the data.
    pub totals: Totals,
    /// Documents that were left out, each with place and reason; the first [`crate::tally::NAMED_MAX`].
    pub bad_documents: Vec<String>,
    /// Stages before tokenizing, in order; absent where there were none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageSummary>,
}

impl Record {
    /// Creates the record of a job that is done.
    pub fn new(
        identity: Identity,
        config: &PrepareConfig,
        tokenizer: &Tokenizer,
        found: &[Found],
        tally: &Tally,
        totals: Totals,
    ) -> Self {
        let inputs = (0..).zip(&config.inputs).map(|(number, input)| {
            let of_input = found.iter().filter(|found| found.input == number);
            let (objects, bytes) = (of_input.clone().count() as u64, of_input.map(|found| found.bytes).sum());
            InputTotals { input: without_secrets(input).into_owned(), objects, bytes }
        });
        Record {
            version: VERSION,
            convoy: env!("CARGO_PKG_VERSION").to_owned(),
            identity,
            config: shown(config, &OUTSIDE_RECORD),
            tokenizer_hash: tokenizer.hash().to_owned(),
            inputs: inputs.collect(),
            totals,
            bad_documents: tally.named.iter().map(ToString::to_string).collect(),
            stages: Vec::new(),
        }
    }

    /// Adds what became of documents in `stages` before they were tokenized.
    pub fn with_stages(self, stages: Vec<StageSummary>) -> Self {
        Record { stages, ..self }
    }

    /// Formats the record as the bytes of `prepare.json`.
    pub fn to_json(&self) -> Bytes {
        Bytes::from(serde_json::to_vec_pretty(self).unwrap_or_else(|e| unreachable!("a record is JSON: {e}")))
    }
}

/// Returns the totals of what the job `identity` has made in `output`; `None` where it has made nothing, or has not finished.
///
/// Finished data of another job is an error, so that nobody's data is overwritten.
pub fn finished(output: &Folder, identity: &Identity, tokenizer_hash: &str) -> Result<Option<Totals>, PrepareError> {
    let has_index = |side: &str| output.folder(side).get_if_exists(INDEX_NAME).map(|index| index.is_some());
    let (train, validation) = (has_index(TRAIN_FOLDER)?, has_index(VALIDATION_FOLDER)?);
    if !train && !validation {
        return Ok(None);
    }
    let taken = |reason| Err(PrepareError::OutputTaken { url: output.url().to_owned(), reason });
    let content = output.get_if_exists(RECORD_NAME)?;
    let record = content.and_then(|content| serde_json::from_slice::<Record>(&content).ok());
    match record.filter(|record| record.version == VERSION) {
        None => taken("no prepare.json of this version says how it was made"),
        Some(record) if record.identity.config_sha256 != identity.config_sha256 => {
            taken("it was made from another [prepare] section")
        }
        Some(record) if record.identity.overlap_filter_sha256 != identity.overlap_filter_sha256 => {
            taken("the filter in prepare.overlap_filter has changed since")
        }
        Some(record) if record.identity.inputs_sha256 != identity.inputs_sha256 => {
            taken("the inputs have changed since")
        }
        Some(record) if record.identity != *identity => Err(PrepareError::OtherRules { url: output.url().to_owned() }),
        Some(record) if record.tokenizer_hash != tokenizer_hash => Err(PrepareError::OtherTokenizer {
            name: record.config["tokenizer"].as_str().unwrap_or_default().to_owned(),
            got: tokenizer_hash.to_owned(),
            expected: record.tokenizer_hash,
        }),
        Some(_) if !train => Ok(None),
        Some(record) => Ok(Some(record.totals)),
    }
}
