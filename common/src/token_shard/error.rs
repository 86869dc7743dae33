//! Why a data set cannot be opened.

use std::fmt;

use super::index::{INDEX_NAME, ShardError};
use crate::exit_code::ExitCode;
use crate::storage::StorageError;

/// Why a data set cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DataSetError {
    /// The store refused or stayed away.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The index is damaged.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The folder was never prepared, or is another one.
    #[error("{url}: no {INDEX_NAME} and no token files (.bin) there, so it is not a folder of token shards; {advice}")]
    NoIndex {
        /// The folder.
        url: String,
        /// What to do.
        advice: String,
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
}

/// What tells one tokenizer from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizerIdentity {
    /// As in `data.tokenizer`.
    pub name: String,
    /// Number of its tokens.
    pub vocabulary: u32,
    /// See [`crate::tokenizer::Tokenizer::hash`].
    pub hash: String,
}

impl fmt::Display for TokenizerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({} tokens, hash {})", self.name, self.vocabulary, self.hash)
    }
}

impl DataSetError {
    /// What a process that ends because of this exits with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            DataSetError::Storage(error) => error.exit_code(),
            DataSetError::TooShort { .. } => ExitCode::Config,
            DataSetError::Shard(_)
            | DataSetError::NoIndex { .. }
            | DataSetError::NoShards { .. }
            | DataSetError::Foreign { .. }
            | DataSetError::Tokenizer { .. } => ExitCode::Data,
        }
    }
}
