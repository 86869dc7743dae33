//! What became of all documents in a stage, for `prepare.json`.

use serde::{Deserialize, Serialize};

use super::tally::Tally;

/// Sums of a stage that is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageSummary {
    /// Name of the stage.
    pub stage: String,
    /// Name of the stage's folder in the folder `stages` of the output.
    pub folder: String,
    /// Sums over all units. Their time is the one thing in `prepare.json` that differs from run to run.
    #[serde(flatten)]
    pub tally: Tally,
}
