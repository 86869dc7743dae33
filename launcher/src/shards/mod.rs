//! Shows and verifies data sets of token shards, against docs/token-shards.md.
//!
//! - [`show`]: totals, and an excerpt as text.
//! - [`verify`]: every byte against its index; the rules themselves are in `common::token_shard::verify`.

pub mod show;
pub mod verify;

use std::fmt;

use bytes::Bytes;
use common::config::StorageConfig;
use common::exit_code::ExitCode;
use common::figures::counted;
use common::storage::{Folder, StorageError};
use common::token_shard::{INDEX_NAME, Index, ShardError};
use common::tokenizer::{Tokenizer, TokenizerError};

/// Why shards cannot be shown or verified.
#[derive(Debug, thiserror::Error)]
pub enum ShardsError {
    /// A store fails to return an object.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A shard or an index is damaged.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The folder contains no data set.
    #[error(
        "{url} has no {INDEX_NAME}, and no folder train or validation that has one; \
         give the output of `launcher prepare`, or one of the two folders in it"
    )]
    NoIndex {
        /// Folder that was searched.
        url: String,
    },
    /// The index that is written last does not exist.
    #[error("{url} does not exist: the data was not prepared to its end; run the same `launcher prepare` again")]
    Unfinished {
        /// URL of the index.
        url: String,
    },
    /// The excerpt begins after the last token.
    #[error("--at {at} is beyond {url}, which has {}; give a position from 0 to {}", counted(*tokens, "token"), tokens.saturating_sub(1))]
    Position {
        /// Position that was asked for.
        at: u64,
        /// URL of the data set.
        url: String,
        /// Number of tokens in the data set.
        tokens: u64,
    },
    /// The tokenizer of the shards cannot be opened.
    #[error("{made}: {source}; name that tokenizer with --tokenizer{without}")]
    Tokenizer {
        /// Tokenizer that the index names.
        made: Box<MadeWith>,
        /// Reason why it cannot be opened.
        source: Box<TokenizerError>,
        /// Hint on how to do without the tokenizer.
        without: &'static str,
    },
    /// The index names a tokenizer in another store.
    #[error("{made}, which is not fetched on the word of an index; name that tokenizer with --tokenizer{without}")]
    NotFetched {
        /// Tokenizer that the index names.
        made: Box<MadeWith>,
        /// Hint on how to do without the tokenizer.
        without: &'static str,
    },
    /// The given tokenizer differs from that of the shards.
    #[error("{made}, and {given:?} has the hash {got}; name the tokenizer that made it with --tokenizer")]
    OtherTokenizer {
        /// Tokenizer that the index names.
        made: Box<MadeWith>,
        /// Name of the tokenizer that was opened.
        given: String,
        /// Hash of the tokenizer that was opened.
        got: String,
    },
    /// A token of the excerpt is not in the tokenizer.
    #[error(
        "{url}: the token at position {position} is {id}, which the tokenizer does not have: damaged; prepare it again"
    )]
    UnknownId {
        /// URL of the data set.
        url: String,
        /// Position of the token, counted over all shards.
        position: u64,
        /// Id of the token.
        id: u16,
    },
}

/// The tokenizer of an index.
#[derive(Debug)]
pub struct MadeWith {
    url: String,
    tokenizer: String,
    hash: String,
}

impl fmt::Display for MadeWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was made with the tokenizer {:?} of hash {}", self.url, self.tokenizer, self.hash)
    }
}

impl ShardsError {
    /// Returns the exit code of a process that ends because of this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            ShardsError::Storage(error) => error.exit_code(),
            ShardsError::Tokenizer { source, .. } => source.exit_code(),
            ShardsError::Position { .. } | ShardsError::NotFetched { .. } => ExitCode::Config,
            ShardsError::Shard(_)
            | ShardsError::NoIndex { .. }
            | ShardsError::Unfinished { .. }
            | ShardsError::OtherTokenizer { .. }
            | ShardsError::UnknownId { .. } => ExitCode::Data,
        }
    }
}

/// A folder of token shards.
pub struct DataSet {
    /// Side of the data, `train` or `validation`; empty where the folder itself was given.
    pub name: &'static str,
    /// Folder that holds the shards.
    pub folder: Folder,
    /// Content of the index, not parsed yet; `None` where a required index is missing.
    pub index: Option<Bytes>,
}

/// Data sets found at a URL.
pub struct Found {
    /// Folder that was given.
    pub root: Folder,
    /// Data sets in the folder; at least one.
    pub sets: Vec<DataSet>,
}

impl Found {
    /// Looks for an index in the folder `url`, or else in the two folders that prepare writes into it.
    pub fn open(url: &str) -> Result<Self, ShardsError> {
        let root = Folder::open(url, &StorageConfig::default())?;
        if let Some(index) = root.get_if_exists(INDEX_NAME)? {
            let sets = vec![DataSet { name: "", folder: root.clone(), index: Some(index) }];
            return Ok(Found { root, sets });
        }
        let side = |name| -> Result<DataSet, StorageError> {
            let folder = root.folder(name);
            let index = folder.get_if_exists(INDEX_NAME)?;
            Ok(DataSet { name, folder, index })
        };
        let [train, validation] = [side("train")?, side("validation")?];
        let sets = match (&train.index, &validation.index) {
            (None, None) => return Err(ShardsError::NoIndex { url: root.url().to_owned() }),
            // All documents may have been for training, and then there is no index for validation.
            (Some(_), None) => vec![train],
            (_, Some(_)) => vec![train, validation],
        };
        Ok(Found { root, sets })
    }
}

impl DataSet {
    /// Opens the tokenizer `given`, or else the one that the index names. Refuses a named one in a store, which would receive
    /// requests and credentials: an index may come from anybody. `without` tells a person how to do without.
    fn tokenizer(&self, index: &Index, given: Option<&str>, without: &'static str) -> Result<Tokenizer, ShardsError> {
        if given.is_none() && index.tokenizer.contains("://") {
            return Err(ShardsError::NotFetched { made: self.made_with(index), without });
        }
        let name = given.unwrap_or(&index.tokenizer);
        Tokenizer::open(name, &StorageConfig::default()).map_err(|source| ShardsError::Tokenizer {
            made: self.made_with(index),
            source: Box::new(source),
            without,
        })
    }

    fn made_with(&self, index: &Index) -> Box<MadeWith> {
        let (tokenizer, hash) = (index.tokenizer.clone(), index.tokenizer_hash.clone());
        Box::new(MadeWith { url: self.folder.url().to_owned(), tokenizer, hash })
    }
}
