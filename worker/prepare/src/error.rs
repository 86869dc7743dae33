//! Errors of a prepare job.

use common::config::ConfigError;
use common::exit_code::ExitCode;
use common::rank_message::MessageError;
use common::storage::StorageError;
use common::tokenizer::TokenizerError;

use crate::inputs::{BadDocument, KINDS, MARKDOWN};

/// Why a prepare job failed.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The config was refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A message between ranks did not arrive.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// An input cannot be found, or the output cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The tokenizer cannot be opened.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A document cannot be read, and `prepare.on_bad_document` is `fail`.
    #[error("{0}; mend it, or leave such documents out with prepare.on_bad_document = \"skip\"")]
    BadDocument(BadDocument),
    /// An input has no object that prepare reads.
    #[error(
        "prepare.inputs names {input}, and in {url} there is nothing to read; it needs objects that end in {KINDS}"
    )]
    NothingToRead {
        /// Input as the config names it.
        input: String,
        /// URL of the folder that was searched.
        url: String,
    },
    /// What a person has named holds no text.
    #[error("{name}: no text to read there; prepare reads {KINDS}, or {MARKDOWN}{there}")]
    NoText {
        /// Name as given.
        name: String,
        /// Description of what is there instead.
        there: String,
    },
    /// The inputs have no document with text.
    #[error(
        "no document to prepare: {objects} objects gave {empty} empty and {skipped} unreadable documents; \
         check prepare.inputs and prepare.text_field"
    )]
    EmptyCorpus {
        /// Number of objects that were read.
        objects: usize,
        /// Number of documents without text.
        empty: u64,
        /// Number of documents that were left out.
        skipped: u64,
    },
    /// The tokenizer differs from the one of the data, or from rank 0's.
    #[error(
        "the tokenizer {name:?} has the hash {got} here, and {expected} where the data was prepared, or on rank 0; \
         give the same files, or another prepare.output"
    )]
    OtherTokenizer {
        /// Name of the tokenizer in the config.
        name: String,
        /// Hash of the tokenizer here.
        got: String,
        /// Hash of the tokenizer of the data, or on rank 0.
        expected: String,
    },
    /// An object that could be read when the job began has become unreadable.
    #[error(
        "{reason}; start again when it can be read, or to go on without it with prepare.on_bad_document = \"skip\""
    )]
    Lost {
        /// Reason that the store gives.
        reason: String,
        /// Exit code for that reason.
        code: ExitCode,
    },
    /// The output folder belongs to something else.
    #[error("{url} holds prepared data already, and {reason}; choose another prepare.output, or remove that folder")]
    OutputTaken {
        /// URL of the output folder.
        url: String,
        /// How the existing data differs.
        reason: &'static str,
    },
    /// An object of the work folder has changed since it was written.
    #[error("{url}: {reason}; remove {folder}, and the job starts over")]
    Work {
        /// URL of the object.
        url: String,
        /// URL of the work folder.
        folder: String,
        /// What is wrong.
        reason: String,
    },
}

impl PrepareError {
    /// Returns the exit code of a process that ends because of this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            PrepareError::Config(_) => ExitCode::Config,
            PrepareError::Message(error) => error.exit_code(),
            PrepareError::Tokenizer(error) => error.exit_code(),
            PrepareError::Storage(error) => error.exit_code(),
            PrepareError::Lost { code, .. } => *code,
            PrepareError::BadDocument(_)
            | PrepareError::NothingToRead { .. }
            | PrepareError::NoText { .. }
            | PrepareError::EmptyCorpus { .. }
            | PrepareError::OutputTaken { .. }
            | PrepareError::OtherTokenizer { .. }
            | PrepareError::Work { .. } => ExitCode::Data,
        }
    }
}
