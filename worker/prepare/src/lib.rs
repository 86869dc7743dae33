//! Documents to token shards: the job behind `prepare --config FILE`. docs/token-shards.md describes what it writes.
//!
//! - [`inputs`]: what the config names becomes objects, and objects become raw documents.
//! - [`corpus`]: raw documents become token ids, on all cores.
//! - [`split`]: which documents are for training and which for validation, and in which order.
//! - [`shards`]: documents in order become shard files and their index.
//! - [`record`]: `prepare.json`, by which a folder that is prepared already is recognised.
//! - [`parallel`]: one function over many items on several threads.
//!
//! The ids of the whole corpus are held in memory, two bytes a token. The same config and inputs give the same bytes,
//! whatever the number of cores.

pub mod corpus;
pub mod inputs;
mod parallel;
pub mod record;
pub mod shards;
pub mod split;

use std::time::Instant;

use common::config::{ConfigError, PrepareConfig, StorageConfig};
use common::storage::{Folder, StorageError};
use common::token_shard::{INDEX_NAME, Index};
use common::tokenizer::{Tokenizer, TokenizerError};
use common::worker_contract::ExitCode;

use corpus::{Corpus, Document};
use record::{Identity, RECORD_NAME, Record, SideTotals, Summary, Totals};

/// Folder of the training shards in `prepare.output`.
pub const TRAIN_FOLDER: &str = "train";
/// Folder of the validation shards in `prepare.output`; it does not exist where no document is for validation.
pub const VALIDATION_FOLDER: &str = "validation";

/// Why a prepare job failed.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The config was refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An input cannot be found, or the output cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The vocabulary cannot be had.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A document cannot be read, and `prepare.on_bad_document` is `fail`.
    #[error("{0}; mend it, or leave such documents out with prepare.on_bad_document = \"skip\"")]
    BadDocument(inputs::BadDocument),
    /// An input has nothing that prepare reads.
    #[error(
        "prepare.inputs names {url}, where there is no .txt or .jsonl object; \
         name a file of either kind, or a folder of them"
    )]
    NothingToRead {
        /// The input.
        url: String,
    },
    /// There are inputs, but no document in them.
    #[error(
        "no document to prepare: {objects} objects gave {empty} empty and {skipped} unreadable documents; \
         check prepare.inputs and prepare.text_field"
    )]
    EmptyCorpus {
        /// How many objects were read.
        objects: usize,
        /// Documents without text.
        empty: u64,
        /// Documents that were left out.
        skipped: u64,
    },
    /// The output folder belongs to something else.
    #[error("{url} holds prepared data already, and {reason}; choose another prepare.output, or remove that folder")]
    OutputTaken {
        /// The output folder.
        url: String,
        /// How what is there differs.
        reason: &'static str,
    },
}

impl PrepareError {
    /// What a process that ends because of this exits with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            PrepareError::Config(_) => ExitCode::Config,
            PrepareError::Tokenizer(error) => error.exit_code(),
            PrepareError::Storage(error) => error.exit_code(),
            PrepareError::BadDocument(_)
            | PrepareError::NothingToRead { .. }
            | PrepareError::EmptyCorpus { .. }
            | PrepareError::OutputTaken { .. } => ExitCode::Data,
        }
    }
}

/// Prepares what `config` says. Where that is done already, nothing is written and the summary says so.
pub fn run(config: &PrepareConfig, storage: &StorageConfig) -> Result<Summary, PrepareError> {
    let started = Instant::now();
    let output = Folder::open(&config.output, storage)?;
    let sources = inputs::find(&config.inputs, storage)?;
    let identity = Identity::of(config, &sources);
    if let Some(totals) = record::finished(&output, &identity)? {
        return Ok(Summary::already_done(totals, &output));
    }
    let tokenizer = Tokenizer::open(&config.tokenizer, storage)?;
    let corpus = corpus::read(&sources, config, storage, &tokenizer)?;
    if corpus.documents.is_empty() {
        let (empty, skipped) = (corpus.empty_documents, corpus.skipped_documents);
        return Err(PrepareError::EmptyCorpus { objects: sources.len(), empty, skipped });
    }
    let totals = write(&output, config, identity, &corpus, &tokenizer)?;
    Ok(Summary::done(totals, &output, started.elapsed()))
}

/// Writes both sides. A folder counts as prepared when `train/index.json` is there, so that comes last.
fn write(
    output: &Folder,
    config: &PrepareConfig,
    identity: Identity,
    corpus: &Corpus,
    tokenizer: &Tokenizer,
) -> Result<Totals, PrepareError> {
    let sides = split::split(&corpus.documents, config.validation_fraction, config.seed);
    let write_side = |name: &str, documents: &[&Document]| -> Result<(Folder, Index), StorageError> {
        let folder = output.folder(name);
        let index = shards::write(&folder, documents, config, tokenizer)?;
        Ok((folder, index))
    };
    let (train_folder, train) = write_side(TRAIN_FOLDER, &sides.train)?;
    let validation = match sides.validation.is_empty() {
        true => None,
        false => Some(write_side(VALIDATION_FOLDER, &sides.validation)?),
    };
    let totals = Totals {
        documents: corpus.documents.len() as u64,
        skipped_documents: corpus.skipped_documents,
        empty_documents: corpus.empty_documents,
        text_bytes: corpus.documents.iter().map(|d| d.text_bytes).sum(),
        train: SideTotals::of(&train),
        validation: validation.as_ref().map(|(_, index)| SideTotals::of(index)),
    };
    output.put(RECORD_NAME, Record::new(identity, totals.clone()).to_json())?;
    if let Some((folder, index)) = validation {
        folder.put(INDEX_NAME, index.to_json())?;
    }
    train_folder.put(INDEX_NAME, train.to_json())?;
    Ok(totals)
}

#[cfg(test)]
mod tests;
