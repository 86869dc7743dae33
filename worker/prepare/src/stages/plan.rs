//! Names of the stages' folders, which follow from all that decides what comes out.

use common::config::{PrepareConfig, StageName};
use common::secrets::without_secrets;
use common::sha256::Sha256Sum;
use common::storage::Folder;
use serde::{Deserialize, Serialize};

use super::names::{STAGES_FOLDER, folder_name};
use super::options::StageOptions;
use crate::inputs::Found;

/// Version of what stages write, and of what they decide with given options. To be raised with every change that makes other
/// documents or lines of lineage, in this package or in `webtext`; `tests/stages_version.rs` shows some of them.
const VERSION: u32 = 3;

/// A stage of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStage {
    /// Name of the stage.
    pub name: StageName,
    /// Hash of all that decides what the stage makes.
    pub sha256: Sha256Sum,
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

/// Plans the stages of a job that reads what was `found`.
pub fn plan(config: &PrepareConfig, options: &StageOptions, found: &[Found]) -> Vec<PlannedStage> {
    let absolute = config.with_absolute_paths().inputs;
    let inputs: Vec<_> = absolute.iter().map(|input| without_secrets(input)).collect();
    // Pages have neither a field of the text nor this bound.
    let reading = (!config.reads_pages()).then_some((&config.text_field, config.max_document_bytes));
    let mut reads = hash_of(&(inputs, found, reading));
    let mut plan = Vec::new();
    for name in &options.stages {
        reads = hash_of(&(VERSION, name.name(), options.of(*name), reads));
        plan.push(PlannedStage { name: *name, sha256: reads });
    }
    plan
}

fn hash_of(value: &impl Serialize) -> Sha256Sum {
    Sha256Sum::of(&serde_json::to_vec(value).unwrap_or_else(|e| unreachable!("it is JSON: {e}")))
}
