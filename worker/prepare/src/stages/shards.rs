//! Whether the token shards of a config are made.

use common::storage::Folder;

use crate::record::{Identity, finished};
use crate::stages::dry_run::TokenShards;
use crate::{PrepareError, WORK_FOLDER};

/// What is known about the token shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shards {
    /// They are not made yet.
    Missing,
    /// They are made of all documents that the last stage has kept.
    Made,
    /// They are made of all that the last stage has kept and that do not overlap with `prepare.overlap_filter`.
    MadeWithFilter,
}

impl TokenShards {
    /// Looks at what there is of the token shards of the job `identity` in `output`, as the job does at its start.
    pub fn of(output: &Folder, identity: &Identity, tokenizer_hash: &str) -> Result<Self, PrepareError> {
        match finished(output, identity, tokenizer_hash) {
            Ok(Some(_)) => Ok(TokenShards::Made),
            Ok(None) if output.folder(WORK_FOLDER).list_folders()?.is_empty() => Ok(TokenShards::Missing),
            Ok(None) => Ok(TokenShards::Begun),
            Err(
                refusal @ (PrepareError::OutputTaken { .. }
                | PrepareError::OtherRules { .. }
                | PrepareError::OtherTokenizer { .. }),
            ) => Ok(TokenShards::Refused(refusal.to_string())),
            Err(error) => Err(error),
        }
    }
}
