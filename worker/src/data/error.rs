//! What can go wrong between a config and its tokens.

use std::io;

use common::exit_code::ExitCode;
use common::storage::StorageError;
use common::token_shard::{DataSetError, INDEX_NAME, ShardError};
use common::tokenizer::TokenizerError;

/// Why tokens could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The store refused or stayed away.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A shard is damaged.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// What the config names is no data set.
    #[error(transparent)]
    Open(#[from] DataSetError),
    /// The tokenizer that the config names cannot be had.
    #[error(transparent)]
    OpenTokenizer(#[from] TokenizerError),
    /// A shard that the index lists is gone.
    #[error("{url} does not exist, but the {INDEX_NAME} beside it lists it; copy or prepare it again")]
    MissingShard {
        /// The shard.
        url: String,
    },
    /// The model has fewer rows than the data has ids.
    #[error("model.vocabulary = {rows} is less than the {ids} tokens of {url}'s tokenizer; give at least {ids}")]
    SmallVocabulary {
        /// `model.vocabulary`.
        rows: u64,
        /// Tokens of the tokenizer.
        ids: u64,
        /// The folder.
        url: String,
    },
    /// More was asked for than there is.
    #[error(
        "{url}: sequence {position} of {sequences} does not exist; ask for fewer (evaluation.validation_sequences), \
         or prepare more text"
    )]
    PastEnd {
        /// The folder.
        url: String,
        /// What was asked for, from 0.
        position: u64,
        /// What there is.
        sequences: u64,
    },
    /// A shard holds an id that its tokenizer does not have.
    #[error(
        "{url}: token {offset} of the shard is {token}, beyond the vocabulary of {vocabulary}; prepare it again with \
         the tokenizer that the index names"
    )]
    BeyondVocabulary {
        /// The shard.
        url: String,
        /// Tokens before it in the shard.
        offset: u64,
        /// The id.
        token: i64,
        /// Every id is below this.
        vocabulary: u32,
    },
    /// The system grants no thread.
    #[error("no thread can be started to read tokens: {0}; raise this host's limits on processes and memory")]
    NoThread(#[source] io::Error),
    /// The caller went on past an error or past the last step.
    #[error("the token stream has ended; this is a bug of its caller: please report it")]
    Ended,
}

impl DataError {
    /// What a process that ends because of this exits with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            DataError::Storage(error) => error.exit_code(),
            DataError::OpenTokenizer(error) => error.exit_code(),
            DataError::Open(error) => error.exit_code(),
            DataError::SmallVocabulary { .. } | DataError::PastEnd { .. } => ExitCode::Config,
            DataError::Shard(_) | DataError::MissingShard { .. } | DataError::BeyondVocabulary { .. } => ExitCode::Data,
            DataError::NoThread(_) => ExitCode::Communication,
            DataError::Ended => ExitCode::Bug,
        }
    }
}
