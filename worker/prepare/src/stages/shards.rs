//! Whether the token shards of a config are made.

use common::config::PrepareConfig;
use common::storage::Folder;
use common::token_shard::INDEX_NAME;

use crate::record::{Identity, RECORD_NAME, Record};
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
    /// Looks at what there is of the token shards of `config`, with the stages of `plan`, in `output`.
    pub fn of(output: &Folder, config: &PrepareConfig, plan: &[PlannedStage]) -> Result<Self, PrepareError> {
        let stages = plan.last().map(|stage| stage.sha256.to_string());
        let is_of_plan = identity(output)?.is_none_or(|identity| identity.stages_sha256 == stages);
        Ok(match Shards::of(output, config)? {
            Shards::Made | Shards::MadeWithFilter if is_of_plan => TokenShards::Made,
            Shards::Made | Shards::MadeWithFilter => TokenShards::OfAnotherConfig,
            Shards::Missing if output.folder(TRAIN_FOLDER).exists(INDEX_NAME)? => TokenShards::OfAnotherConfig,
            Shards::Missing if !output.folder(WORK_FOLDER).list_folders()?.is_empty() => TokenShards::Begun,
            Shards::Missing => TokenShards::Missing,
        })
    }
}

/// Returns the identity of what was prepared in `output`, if a record says it.
fn identity(output: &Folder) -> Result<Option<Identity>, PrepareError> {
    let record = output.get_if_exists(RECORD_NAME)?;
    Ok(record.and_then(|content| Some(serde_json::from_slice::<Record>(&content).ok()?.identity)))
}

impl Shards {
    /// Looks for token shards in `output` that were made by `config`. Whether the inputs have changed since is not looked at.
    pub fn of(output: &Folder, config: &PrepareConfig) -> Result<Self, PrepareError> {
        if !output.folder(TRAIN_FOLDER).exists(INDEX_NAME)? {
            return Ok(Shards::Missing);
        }
        let identity = identity(output)?;
        // The inputs and the filter are not part of this hash.
        let expected = Identity::of(config, &[], &[], None).config_sha256;
        Ok(match identity.filter(|identity| identity.config_sha256 == expected) {
            None => Shards::Missing,
            Some(identity) if identity.overlap_filter_sha256.is_none() => Shards::Made,
            Some(_) => Shards::MadeWithFilter,
        })
    }
}
