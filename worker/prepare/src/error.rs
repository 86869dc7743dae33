//! Why a prepare job fails.

use common::config::ConfigError;
use common::exit_code::ExitCode;
use common::rank_message::MessageError;
use common::storage::StorageError;
use common::tokenizer::TokenizerError;

use crate::inputs::{BadDocument, KINDS};

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
    /// The vocabulary cannot be had.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A document cannot be read, and `prepare.on_bad_document` is `fail`.
    #[error("{0}; mend it, or leave such documents out with prepare.on_bad_document = \"skip\"")]
    BadDocument(BadDocument),
    /// An input has nothing that prepare reads.
    #[error(
        "prepare.inputs names {input}, and in {url} there is nothing to read; it needs objects that end in {KINDS}"
    )]
    NothingToRead {
        /// The input.
        input: String,
        /// The folder that was looked through.
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
    /// Another tokenizer was meant, or ranks have different files.
    #[error(
        "the tokenizer {name:?} has the hash {got} here, and {expected} where the data was prepared, or on rank 0; \
         give the same files, or another prepare.output"
    )]
    OtherTokenizer {
        /// As in the config.
        name: String,
        /// Its hash here.
        got: String,
        /// The other one.
        expected: String,
    },
    /// An object that could be read when the job began cannot be read any more.
    #[error(
        "{reason}; start again when it can be read, or to go on without it with prepare.on_bad_document = \"skip\""
    )]
    Lost {
        /// What the store says.
        reason: String,
        /// What that counts as.
        code: ExitCode,
    },
    /// The output folder belongs to something else.
    #[error("{url} holds prepared data already, and {reason}; choose another prepare.output, or remove that folder")]
    OutputTaken {
        /// The output folder.
        url: String,
        /// How what is there differs.
        reason: &'static str,
    },
    /// What was written on the way is not as it was written.
    #[error("{url}: {reason}; remove {folder}, and the job starts over")]
    Work {
        /// The object.
        url: String,
        /// The work folder.
        folder: String,
        /// What is wrong.
        reason: String,
    },
}

impl PrepareError {
    /// What a process that ends because of this exits with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            PrepareError::Config(_) => ExitCode::Config,
            PrepareError::Message(error) => error.exit_code(),
            PrepareError::Tokenizer(error) => error.exit_code(),
            PrepareError::Storage(error) => error.exit_code(),
            PrepareError::Lost { code, .. } => *code,
            PrepareError::BadDocument(_)
            | PrepareError::NothingToRead { .. }
            | PrepareError::EmptyCorpus { .. }
            | PrepareError::OutputTaken { .. }
            | PrepareError::OtherTokenizer { .. }
            | PrepareError::Work { .. } => ExitCode::Data,
        }
    }
}
