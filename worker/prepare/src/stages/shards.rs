//! Whether the token shards of a config are made.

use common::config::PrepareConfig;
use common::storage::Folder;
use common::token_shard::INDEX_NAME;

use crate::record::{Identity, RECORD_NAME, Record, finished};
use crate::stages::dry_run::TokenShards;
use crate::stages::plan::PlannedStage;
use crate::{PrepareError, TRAIN_FOLDER, WORK_FOLDER};

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

/// Returns the identity of what was prepared in `output`, if a record says it.
fn identity(output: &Folder) -> Result<Option<Identity>, PrepareError> {
    let record = output.get_if_exists(RECORD_NAME)?;
    Ok(record.and_then(|content| Some(serde_json::from_slice::<Record>(&content).ok()?.identity)))
}

impl Shards {
    /// Looks for token shards in `output` that were made by `config`, and with the stages of `plan`, if it is known. Neither the
    /// tokenizer nor the filter is looked at, so it needs none of them.
    pub fn of(output: &Folder, config: &PrepareConfig, plan: Option<&[PlannedStage]>) -> Result<Self, PrepareError> {
        if !output.folder(TRAIN_FOLDER).exists(INDEX_NAME)? {
            return Ok(Shards::Missing);
        }
        let identity = identity(output)?;
        // The inputs and the filter are not part of this hash.
        let expected = Identity::of(config, &[], &[], None).config_sha256;
        let is_of_plan = |identity: &Identity| {
            plan.is_none_or(|plan| identity.stages_sha256 == plan.last().map(|stage| stage.sha256.to_string()))
        };
        Ok(match identity.filter(|identity| identity.config_sha256 == expected && is_of_plan(identity)) {
            None => Shards::Missing,
            Some(identity) if identity.overlap_filter_sha256.is_none() => Shards::Made,
            Some(_) => Shards::MadeWithFilter,
        })
    }
}
