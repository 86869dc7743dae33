//! Errors between a config and its tokens.

use std::io;

use common::exit_code::ExitCode;
use common::storage::StorageError;
use common::token_shard::{DataSetError, INDEX_NAME, ShardError};
use common::tokenizer::TokenizerError;

/// Reason why tokens could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A shard is damaged.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The config names something that is no data set.
    #[error(transparent)]
    Open(#[from] DataSetError),
    /// The tokenizer that the config names cannot be loaded.
    #[error(transparent)]
    OpenTokenizer(#[from] TokenizerError),
    /// A shard that the index lists does not exist.
    #[error("{url} does not exist, but the {INDEX_NAME} beside it lists it; copy or prepare it again")]
    MissingShard {
        /// URL of the shard.
        url: String,
    },
    /// More was asked for than there is.
    #[error(
        "{url}: sequence {position} of {sequences} does not exist; ask for fewer (evaluation.validation_sequences), \
         or prepare more text"
    )]
    PastEnd {
        /// URL of the data set's folder.
        url: String,
        /// Position of the sequence that was asked for, from 0.
        position: u64,
        /// Number of sequences that exist.
        sequences: u64,
    },
    /// A shard holds a token id that is not in its tokenizer's vocabulary.
    #[error(
        "{url}: token {offset} of the shard is {token}, beyond the vocabulary of {vocabulary}; prepare it again with \
         the tokenizer that the index names"
    )]
    BeyondVocabulary {
        /// URL of the shard.
        url: String,
        /// Number of tokens before this one in the shard.
        offset: u64,
        /// The token id.
        token: i64,
        /// Size of the vocabulary, which every id must be below.
        vocabulary: u32,
    },
    /// The system grants no thread.
    #[error("no thread can be started to read tokens: {0}; raise this host's limits on processes and memory")]
    NoThread(#[source] io::Error),
    /// The caller went on after an error or after the last step.
    #[error("the token stream has ended; this is a bug of its caller: please report it")]
    Ended,
}

impl DataError {
    /// Returns the exit code of a process that ends because of this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            DataError::Storage(error) => error.exit_code(),
            DataError::OpenTokenizer(error) => error.exit_code(),
            DataError::Open(error) => error.exit_code(),
            DataError::PastEnd { .. } => ExitCode::Config,
            DataError::Shard(_) | DataError::MissingShard { .. } | DataError::BeyondVocabulary { .. } => ExitCode::Data,
            DataError::NoThread(_) => ExitCode::Communication,
            DataError::Ended => ExitCode::Bug,
        }
    }
}
