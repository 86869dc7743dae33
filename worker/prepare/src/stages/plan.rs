//! Names of the stages' folders, which follow from all that decides what comes out.

use common::config::{PrepareConfig, StageName, StorageConfig};
use common::secrets::without_secrets;
use common::sha256::Sha256Sum;
use common::storage::Folder;
use serde::{Deserialize, Serialize};

use super::names::{STAGES_FOLDER, folder_name};
use super::options::StageOptions;
use super::overlap::sets::{read_sets, sha256_of};
use crate::PrepareError;
use crate::inputs::Found;

/// Version of what stages write, and of what they decide with given options. To be raised with every change that makes other
/// documents or lines of lineage, in this package or in `webtext`; `tests/stages_version.rs` shows some of them.
const VERSION: u32 = 4;

/// A stage of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStage {
    /// Name of the stage.
    pub name: StageName,
    /// Hash of all that decides what the stage makes.
    pub sha256: Sha256Sum,
    /// Hash of the evaluation sets that the stage `overlap` looks for; `None` for other stages.
    pub sets: Option<Sha256Sum>,
}

impl PlannedStage {
    /// Returns the name of the stage's folder in the folder of stages.
    pub fn folder_name(&self) -> String {
        folder_name(self.name, &self.sha256)
    }

    /// Returns the stage's folder in `output`.
    pub fn folder(&self, output: &Folder) -> Folder {
        output.folder(STAGES_FOLDER).folder(&self.folder_name())
    }
}

/// Plans the stages of a job that reads what was `found`. Reads the evaluation sets of `overlap`, which decide what comes out.
pub fn plan(
    config: &PrepareConfig,
    options: &StageOptions,
    found: &[Found],
    storage: &StorageConfig,
) -> Result<Vec<PlannedStage>, PrepareError> {
    let absolute = config.with_absolute_paths().inputs;
    let inputs: Vec<_> = absolute.iter().map(|input| without_secrets(input)).collect();
    // Pages have neither a field of the text nor this bound.
    let reading = (!config.reads_pages()).then_some((&config.text_field, config.max_document_bytes));
    let mut reads = hash_of(&(inputs, found, reading));
    let mut plan = Vec::new();
    for name in &options.stages {
        let sets = match name {
            StageName::Overlap => Some(sha256_of(&read_sets(&options.overlap, storage)?)),
            _ => None,
        };
        reads = match &sets {
            None => hash_of(&(VERSION, name.name(), options.of(*name), reads)),
            Some(sets) => hash_of(&(VERSION, name.name(), options.of(*name), sets, reads)),
        };
        plan.push(PlannedStage { name: *name, sha256: reads, sets });
    }
    Ok(plan)
}

fn hash_of(value: &impl Serialize) -> Sha256Sum {
    Sha256Sum::of(&serde_json::to_vec(value).unwrap_or_else(|e| unreachable!("it is JSON: {e}")))
}
