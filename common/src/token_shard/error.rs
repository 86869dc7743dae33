//! Why a data set cannot be opened.

use std::fmt;

use super::index::{INDEX_NAME, ShardError};
use crate::exit_code::ExitCode;
use crate::figures::counted;
use crate::storage::StorageError;

/// Why a data set cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DataSetError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The index is damaged.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The folder was never prepared, or is the wrong one.
    #[error("{url}: no {INDEX_NAME} and no token files (.bin) there, so it is not a folder of token shards; {advice}")]
    NoIndex {
        /// URL of the folder.
        url: String,
        /// What to do about it.
        advice: String,
    },
    /// A token file of another program cannot be read.
    #[error(
        "{url}: {reason}; data.train and data.validation take folders that `launcher prepare` wrote, and token files of \
         llm.c, nanoGPT and Megatron"
    )]
    Foreign {
        /// URL of the file.
        url: String,
        /// What is wrong with the file.
        reason: String,
    },
    /// The index lists no token shards.
    #[error("{url}: the index lists no token shards; its input was empty: run `launcher prepare` on some documents")]
    NoShards {
        /// URL of the index.
        url: String,
    },
    /// The token shards were made with another tokenizer than the config names.
    #[error(
        "{url}: made with the tokenizer {got}, but data.tokenizer is {expected}; prepare the documents again with that \
         one, or correct data.tokenizer"
    )]
    Tokenizer {
        /// URL of the index.
        url: String,
        /// Tokenizer in the config.
        expected: Box<TokenizerIdentity>,
        /// Tokenizer in the index.
        got: Box<TokenizerIdentity>,
    },
    /// No token shard holds a whole sequence.
    #[error(
        "{url}: in {} there is no sequence of {sequence_tokens} and its next token within one shard; prepare more text, with a \
         larger prepare.tokens_per_shard if shards are short, or lower batch.sequence_tokens",
        counted(*tokens, "token")
    )]
    TooShort {
        /// URL of the folder.
        url: String,
        /// Number of tokens in all its token shards.
        tokens: u64,
        /// `batch.sequence_tokens`.
        sequence_tokens: u64,
    },
    /// The model's embedding has fewer rows than the data has token ids.
    #[error("model.vocabulary = {rows} is less than the {ids} tokens of {url}'s tokenizer; give at least {ids}")]
    SmallVocabulary {
        /// `model.vocabulary`.
        rows: u64,
        /// Tokens of the tokenizer.
        ids: u64,
        /// URL of the data set.
        url: String,
    },
}

/// Identity of a tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizerIdentity {
    /// Name, as in `data.tokenizer`.
    pub name: String,
    /// Number of tokens in the vocabulary.
    pub vocabulary: u32,
    /// Hash of the vocabulary: see [`crate::tokenizer::Tokenizer::hash`].
    pub hash: String,
}

impl fmt::Display for TokenizerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({} tokens, hash {})", self.name, self.vocabulary, self.hash)
    }
}

impl DataSetError {
    /// Returns the exit code of a process that ends because of this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            DataSetError::Storage(error) => error.exit_code(),
            DataSetError::TooShort { .. } | DataSetError::SmallVocabulary { .. } => ExitCode::Config,
            DataSetError::Shard(_)
            | DataSetError::NoIndex { .. }
            | DataSetError::NoShards { .. }
            | DataSetError::Foreign { .. }
            | DataSetError::Tokenizer { .. } => ExitCode::Data,
        }
    }
}
