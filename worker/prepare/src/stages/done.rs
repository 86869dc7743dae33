//! A stage that is done: what the next one reads, or what is tokenized.

use common::storage::Folder;

use super::names::documents_name;
use super::object::Stored;
use super::plan::PlannedStage;
use super::record::StageRecord;
use super::summary::StageSummary;
use crate::inputs::Source;

/// A stage that is done.
#[derive(Debug, Clone)]
pub struct DoneStage {
    /// The stage.
    pub plan: PlannedStage,
    /// Its folder.
    pub folder: Folder,
    /// Its record.
    pub record: StageRecord,
    /// Whether this job has made its documents, or has verified those that an earlier one made.
    pub is_verified: bool,
}

impl DoneStage {
    /// Returns what became of documents in the stage.
    pub fn summary(&self) -> StageSummary {
        let (stage, folder) = (self.record.stage.clone(), self.plan.folder_name());
        let (tally, clusters) = (self.record.tally.clone(), self.record.clusters.clone());
        StageSummary { stage, folder, tally, clusters, overlaps: self.record.overlaps.clone() }
    }

    /// Returns the documents that the stage has kept, as sources to tokenize.
    pub fn sources(&self) -> Vec<Source> {
        let source =
            |(number, unit): (u32, &Stored)| Source::parquet(number, &self.folder, &documents_name(number), unit.bytes);
        (0..).zip(&self.record.units).map(source).collect()
    }
}
