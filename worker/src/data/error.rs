//! What can go wrong between a config and its tokens.

use std::fmt;
use std::io;

use common::storage::StorageError;
use common::token_shard::{INDEX_NAME, ShardError};
use common::tokenizer::TokenizerError;
use common::worker_contract::ExitCode;

/// Why tokens could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The store refused or stayed away.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A shard or the index is damaged.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The tokenizer that the config names cannot be had.
    #[error(transparent)]
    OpenTokenizer(#[from] TokenizerError),
    /// The folder was never prepared, or is another one.
    #[error(
        "{url}: no {INDEX_NAME} and no token files (.bin) there, so it is not a folder of token shards; make it with \
         `launcher prepare` and prepare.output = {url:?}, or correct data.train and data.validation"
    )]
    NoIndex {
        /// The folder.
        url: String,
    },
    /// A file of another program that cannot be read as one.
    #[error(
        "{url}: {reason}; data.train and data.validation take folders that `launcher prepare` wrote, and token files of \
         llm.c, nanoGPT and Megatron"
    )]
    Foreign {
        /// The file.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The index lists nothing.
    #[error("{url}: the index lists no token shards; its input was empty: run `launcher prepare` on some documents")]
    NoShards {
        /// The index.
        url: String,
    },
    /// A shard that the index lists is gone.
    #[error("{url} does not exist, but the {INDEX_NAME} beside it lists it; copy or prepare it again")]
    MissingShard {
        /// The shard.
        url: String,
    },
    /// The shards were made with another tokenizer than the config says.
    #[error(
        "{url}: made with the tokenizer {got}, but data.tokenizer is {expected}; prepare the documents again with that \
         one, or correct data.tokenizer"
    )]
    Tokenizer {
        /// The index.
        url: String,
        /// What the config asks for.
        expected: Box<TokenizerIdentity>,
        /// What the index says.
        got: Box<TokenizerIdentity>,
    },
    /// No shard holds a whole sequence.
    #[error(
        "{url}: {tokens} tokens hold no sequence of {sequence_tokens} and its next token within one shard; prepare \
         more text, with a larger prepare.tokens_per_shard if shards are short, or lower batch.sequence_tokens"
    )]
    TooShort {
        /// The folder.
        url: String,
        /// Tokens of all its shards.
        tokens: u64,
        /// `batch.sequence_tokens`.
        sequence_tokens: u64,
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

/// What tells one tokenizer from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizerIdentity {
    /// As in `data.tokenizer`.
    pub name: String,
    /// Number of its tokens.
    pub vocabulary: u32,
    /// See [`common::tokenizer::Tokenizer::hash`].
    pub hash: String,
}

impl fmt::Display for TokenizerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({} tokens, hash {})", self.name, self.vocabulary, self.hash)
    }
}

impl DataError {
    /// What a process that ends because of this exits with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            DataError::Storage(error) => error.exit_code(),
            DataError::OpenTokenizer(error) => error.exit_code(),
            DataError::TooShort { .. } | DataError::PastEnd { .. } => ExitCode::Config,
            DataError::Shard(_)
            | DataError::NoIndex { .. }
            | DataError::NoShards { .. }
            | DataError::Foreign { .. }
            | DataError::MissingShard { .. }
            | DataError::Tokenizer { .. }
            | DataError::BeyondVocabulary { .. } => ExitCode::Data,
            DataError::NoThread(_) => ExitCode::Communication,
            DataError::Ended => ExitCode::Bug,
        }
    }
}
