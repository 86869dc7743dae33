//! Data sets of token shards, from the outside: what is in them, and whether it is as docs/token-shards.md says.
//!
//! - [`show`]: totals, and an excerpt as text.
//! - [`verify`]: every byte against its index; the rules themselves are in `common::token_shard::verify`.

pub mod show;
pub mod verify;

use std::fmt;

use bytes::Bytes;
use common::config::StorageConfig;
use common::exit_code::ExitCode;
use common::storage::{Folder, StorageError};
use common::token_shard::{INDEX_NAME, Index, ShardError};
use common::tokenizer::{Tokenizer, TokenizerError};

/// Why shards cannot be shown or verified.
#[derive(Debug, thiserror::Error)]
pub enum ShardsError {
    /// A store does not give what is asked for.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A shard or an index is damaged.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// There is no data set.
    #[error(
        "{url} has no {INDEX_NAME}, and no folder train or validation that has one; \
         give the output of `launcher prepare`, or one of the two folders in it"
    )]
    NoIndex {
        /// Where it was looked for.
        url: String,
    },
    /// The index that is put last is not there.
    #[error("{url} does not exist: the data was not prepared to its end; run the same `launcher prepare` again")]
    Unfinished {
        /// The index.
        url: String,
    },
    /// The excerpt begins after the end.
    #[error("--at {at} is beyond {url}, which has {tokens} tokens; give a position from 0 to {}", tokens.saturating_sub(1))]
    Position {
        /// What was asked for.
        at: u64,
        /// The data set.
        url: String,
        /// How many tokens it has.
        tokens: u64,
    },
    /// The tokenizer of the shards is not to be had.
    #[error("{made}: {source}; name that tokenizer with --tokenizer{without}")]
    Tokenizer {
        /// What it should be.
        made: Box<MadeWith>,
        /// Why.
        source: Box<TokenizerError>,
        /// How to do without.
        without: &'static str,
    },
    /// The index names a tokenizer in another store.
    #[error("{made}, which is not fetched on the word of an index; name that tokenizer with --tokenizer{without}")]
    NotFetched {
        /// What it should be.
        made: Box<MadeWith>,
        /// How to do without.
        without: &'static str,
    },
    /// The tokenizer is another one than that of the shards.
    #[error("{made}, and {given:?} has the hash {got}; name the tokenizer that made it with --tokenizer")]
    OtherTokenizer {
        /// What it should be.
        made: Box<MadeWith>,
        /// The tokenizer that was opened.
        given: String,
        /// Its hash.
        got: String,
    },
    /// A token of the excerpt is none.
    #[error(
        "{url}: the token at position {position} is {id}, which the tokenizer does not have: damaged; prepare it again"
    )]
    UnknownId {
        /// The data set.
        url: String,
        /// Over all its shards.
        position: u64,
        /// The token.
        id: u16,
    },
}

/// What an index says of the tokenizer.
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
    /// What a process that ends because of this exits with.
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

/// A folder of shards.
pub struct DataSet {
    /// `train`, `validation`, or nothing where the folder itself was given.
    pub name: &'static str,
    /// Where its shards are.
    pub folder: Folder,
    /// Its index, not looked at yet; `None` where there must be one and is not.
    pub index: Option<Bytes>,
}

/// What was found at a URL.
pub struct Found {
    /// The folder that was given.
    pub root: Folder,
    /// At least one.
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
            // No document may have been for validation, but the index for training is there when all is.
            (Some(_), None) => vec![train],
            (_, Some(_)) => vec![train, validation],
        };
        Ok(Found { root, sets })
    }
}

impl DataSet {
    /// The tokenizer `given`, or else the one that the index names, unless that would send requests and credentials somewhere else:
    /// an index is somebody's words. `without` says how to do without.
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
