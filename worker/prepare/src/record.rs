//! `prepare.json`, by which a folder that is prepared already is recognised, and the summary for people.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use common::config::PrepareConfig;
use common::storage::Folder;
use common::token_shard::{INDEX_NAME, Index, hex_sha256};
use serde::{Deserialize, Serialize};

use crate::inputs::Source;
use crate::{PrepareError, TRAIN_FOLDER, VALIDATION_FOLDER};

/// Name of the record in `prepare.output`.
pub const RECORD_NAME: &str = "prepare.json";

/// What decides on the bytes that are written, as far as it can be told without reading the inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// SHA-256 of `[prepare]` as JSON, without `output`: a copy of the folder stays what it is.
    pub config_sha256: String,
    /// SHA-256 of the list of objects with their sizes.
    pub inputs_sha256: String,
}

impl Identity {
    /// The identity of a job.
    pub fn of(config: &PrepareConfig, sources: &[Source]) -> Self {
        let config = PrepareConfig { output: String::new(), ..config.clone() };
        let objects: Vec<_> = sources.iter().map(|s| (&s.input, &s.name, s.bytes)).collect();
        Identity { config_sha256: hash_of(&config), inputs_sha256: hash_of(&objects) }
    }
}

fn hash_of(value: &impl Serialize) -> String {
    hex_sha256(&serde_json::to_vec(value).unwrap_or_else(|e| unreachable!("it is JSON: {e}")))
}

/// What was prepared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Documents of both sides.
    pub documents: u64,
    /// Documents that could not be read and were left out.
    pub skipped_documents: u64,
    /// Documents without text, which were left out.
    pub empty_documents: u64,
    /// Length of the documents' text in UTF-8.
    pub text_bytes: u64,
    /// The training side.
    pub train: SideTotals,
    /// The validation side, where there is one.
    pub validation: Option<SideTotals>,
}

/// What was prepared for one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideTotals {
    /// Documents.
    pub documents: u64,
    /// Tokens, with the end-of-text before each document.
    pub tokens: u64,
    /// Token shards.
    pub shards: u64,
}

impl SideTotals {
    /// The totals of an index.
    pub fn of(index: &Index) -> Self {
        SideTotals { documents: index.documents, tokens: index.tokens, shards: index.shards.len() as u64 }
    }
}

/// The content of `prepare.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Version of this structure, 1.
    pub version: u32,
    /// Of the job.
    #[serde(flatten)]
    pub identity: Identity,
    /// What it made.
    pub totals: Totals,
}

impl Record {
    /// A record of this version.
    pub fn new(identity: Identity, totals: Totals) -> Self {
        Record { version: 1, identity, totals }
    }

    /// The record as the bytes of `prepare.json`.
    pub fn to_json(&self) -> Bytes {
        Bytes::from(serde_json::to_vec_pretty(self).unwrap_or_else(|e| unreachable!("a record is JSON: {e}")))
    }
}

/// What the job `identity` has made in `output`; `None` where it has not, or has not finished.
///
/// Finished data of anything else is an error, so that nobody's data is overwritten.
pub fn finished(output: &Folder, identity: &Identity) -> Result<Option<Totals>, PrepareError> {
    let has_index = |side: &str| output.folder(side).get_if_exists(INDEX_NAME).map(|index| index.is_some());
    let (train, validation) = (has_index(TRAIN_FOLDER)?, has_index(VALIDATION_FOLDER)?);
    if !train && !validation {
        return Ok(None);
    }
    let taken = |reason| Err(PrepareError::OutputTaken { url: output.url().to_owned(), reason });
    let content = output.get_if_exists(RECORD_NAME)?;
    let record = content.and_then(|content| serde_json::from_slice::<Record>(&content).ok());
    match record {
        None => taken("no prepare.json of this version says how it was made"),
        Some(record) if record.identity.config_sha256 != identity.config_sha256 => {
            taken("it was made from another [prepare] section")
        }
        Some(record) if record.identity != *identity => taken("the inputs have changed since"),
        Some(_) if !train => Ok(None),
        Some(record) => Ok(Some(record.totals)),
    }
}

/// What a job says at its end. As JSON it has the same fields.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Whether everything was there already, and nothing was written.
    pub already_done: bool,
    /// What was prepared.
    #[serde(flatten)]
    pub totals: Totals,
    /// Tokens of both sides.
    pub tokens: u64,
    /// Bytes of text per token.
    pub bytes_per_token: f64,
    /// The folder of the training shards.
    pub train_url: String,
    /// The folder of the validation shards.
    pub validation_url: Option<String>,
    /// Duration of the job; 0 where there was nothing to do.
    pub seconds: f64,
    /// Text per second.
    pub mb_per_second: f64,
}

impl Summary {
    /// Of a job that did its work in `duration`.
    pub fn done(totals: Totals, output: &Folder, duration: Duration) -> Self {
        let seconds = duration.as_secs_f64();
        let mb_per_second = totals.text_bytes as f64 / 1e6 / seconds.max(1e-9);
        Summary { already_done: false, seconds, mb_per_second, ..Self::already_done(totals, output) }
    }

    /// Of a job that found its work done.
    pub fn already_done(totals: Totals, output: &Folder) -> Self {
        let tokens = totals.train.tokens + totals.validation.as_ref().map_or(0, |v| v.tokens);
        Summary {
            already_done: true,
            tokens,
            bytes_per_token: totals.text_bytes as f64 / tokens as f64,
            train_url: output.url_of(TRAIN_FOLDER),
            validation_url: totals.validation.as_ref().map(|_| output.url_of(VALIDATION_FOLDER)),
            totals,
            seconds: 0.0,
            mb_per_second: 0.0,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = &self.totals;
        if self.already_done {
            writeln!(f, "prepared already, from the same config and inputs; nothing was written")?;
        }
        writeln!(
            f,
            "{} documents, {} tokens, {:.2} bytes per token",
            totals.documents, self.tokens, self.bytes_per_token
        )?;
        let left_out = [("unreadable", totals.skipped_documents), ("empty", totals.empty_documents)];
        for (kind, count) in left_out.into_iter().filter(|(_, count)| *count > 0) {
            writeln!(f, "left out    {count} {kind} documents")?;
        }
        let mut side = |name: &str, side: &SideTotals, url: &str| {
            let SideTotals { documents, tokens, shards } = side;
            writeln!(f, "{name:<11} {documents} documents, {tokens} tokens in {shards} token shards: {url}")
        };
        side("train", &totals.train, &self.train_url)?;
        if let (Some(validation), Some(url)) = (&totals.validation, &self.validation_url) {
            side("validation", validation, url)?;
        }
        if !self.already_done {
            writeln!(f, "{:.1} s, {:.1} MB/s", self.seconds, self.mb_per_second)?;
        }
        Ok(())
    }
}
