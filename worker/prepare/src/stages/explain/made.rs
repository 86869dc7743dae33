//! Where documents are looked for: the folders that the stages of a config have made, and the token shards.
//!
//! The names of the folders follow from the config and its inputs. Where these have changed since, the newest folder of a stage
//! is taken, and the answer says so.

use common::config::{PrepareConfig, StorageConfig};
use common::storage::{Folder, StorageError};
use common::token_shard::INDEX_NAME;

use crate::job::find_inputs;
use crate::record::{RECORD_NAME, Record};
use crate::stages::folders::{StageFolder, newest_folders};
use crate::stages::lineage::lineage_of;
use crate::stages::options::StageOptions;
use crate::stages::plan::{PlannedStage, plan};
use crate::stages::shards::Shards;
use crate::{PrepareError, TRAIN_FOLDER};

/// What the stages of a config have made.
pub struct Made {
    /// Folder of each stage that has lineage, in the order in which documents go through them.
    pub stages: Vec<StageFolder>,
    /// Whether these are all stages of the config.
    pub is_whole: bool,
    /// What there is of the token shards of the documents that the last of these stages has kept.
    pub shards: Shards,
    /// `prepare.max_document_bytes` of these shards, or of the config where there are none yet.
    pub document_bytes_max: u64,
    /// What to know about these folders: that some are of another config or other inputs.
    pub note: Option<String>,
}

impl Made {
    /// Finds in `output` what the stages of a config have made, or, where a stage has made nothing from this config and its
    /// inputs as they are now, what it has made last.
    pub fn find(
        (config, options): (&PrepareConfig, &StageOptions),
        storage: &StorageConfig,
        output: &Folder,
    ) -> Result<Self, PrepareError> {
        let planned = planned(config, options, storage)?;
        let (mut stages, mut others) = (Vec::new(), Vec::new());
        for name in &options.stages {
            let of_plan = planned.iter().flatten().find(|planned| planned.name == *name);
            match of_plan.and_then(|planned| StageFolder::named(output, &planned.folder_name())) {
                Some(stage) if !lineage_of(&stage.folder)?.is_empty() => stages.push(stage),
                _ => {
                    let newest = newest_folders(output, &[name.name()])?;
                    others.extend(newest.iter().map(|_| name.name()));
                    stages.extend(newest);
                }
            }
        }
        let is_whole = stages.len() == options.stages.len();
        let record = stages.last().map_or(Ok(None), |last| record_of(output, last))?;
        let shards = match &record {
            None => Shards::Missing,
            Some(record) if record.identity.overlap_filter_sha256.is_none() => Shards::Made,
            Some(_) => Shards::MadeWithFilter,
        };
        let of_shards = record.as_ref().and_then(|record| record.config.get("max_document_bytes")?.as_u64());
        let document_bytes_max = of_shards.unwrap_or(config.max_document_bytes);
        Ok(Made { stages, is_whole, shards, document_bytes_max, note: note(&others, planned.is_some()) })
    }
}

/// Plans the stages of a config; `None` where its inputs are gone. A store that does not say whether they are is an error.
fn planned(
    config: &PrepareConfig,
    options: &StageOptions,
    storage: &StorageConfig,
) -> Result<Option<Vec<PlannedStage>>, PrepareError> {
    match find_inputs(config, storage) {
        Ok(found) => plan(config, options, &found, storage).map(Some),
        Err(PrepareError::NothingToRead { .. } | PrepareError::Storage(StorageError::NotFound { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the record of the token shards that were made of the documents in `last`, the folder of the last stage; `None` where
/// there are none.
fn record_of(output: &Folder, last: &StageFolder) -> Result<Option<Record>, PrepareError> {
    if !output.folder(TRAIN_FOLDER).exists(INDEX_NAME)? {
        return Ok(None);
    }
    // Shards with a record of another version are of other documents.
    let record = output.get_if_exists(RECORD_NAME)?;
    let record = record.and_then(|content| serde_json::from_slice::<Record>(&content).ok());
    let is_of_last = |sha256: &String| last.is_of(sha256);
    Ok(record.filter(|record| record.identity.stages_sha256.as_ref().is_some_and(is_of_last)))
}

/// Describes the folders of the stages in `others`, which are not known to be of this config and its inputs.
fn note(others: &[&str], are_inputs_there: bool) -> Option<String> {
    let newest = format!("this is the newest lineage of {}", others.join(" and "));
    match (others.is_empty(), are_inputs_there) {
        (true, _) => None,
        (false, true) => Some(format!("the config or its inputs have changed since; {newest}")),
        (false, false) => Some(format!("the inputs are gone, which say what lineage is of this config; {newest}")),
    }
}

#[cfg(test)]
mod tests;
