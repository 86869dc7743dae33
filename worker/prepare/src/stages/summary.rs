//! What became of all documents in a stage, for `prepare.json`.

use serde::{Deserialize, Serialize};

use super::deduplicate::sums::ClusterSums;
use super::overlap::sums::OverlapSums;
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
    /// Clusters that the stage `deduplicate` has found; `None` for other stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<ClusterSums>,
    /// Overlap with evaluation sets, of the stage `overlap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlaps: Option<OverlapSums>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::lineage::tests::line;

    #[test]
    fn a_summary_comes_back_from_json() {
        let mut tally = Tally { cpu_seconds: 0.1 + 0.2, ..Tally::default() };
        (0..100).for_each(|number| tally.count(&line(number), "some text"));
        let folder = "clean-0123456789abcdef".to_owned();
        let summary = StageSummary { stage: "clean".into(), folder, tally, clusters: None, overlaps: None };
        let json = serde_json::to_string_pretty(&summary).unwrap();
        assert_eq!(serde_json::from_str::<StageSummary>(&json).unwrap(), summary);
        assert!(json.contains("\n  \"seen\": 100,\n") && !json.contains("clusters"), "{json}");
        let mut clusters = ClusterSums::default();
        [2, 5, 5].into_iter().for_each(|documents| clusters.count(documents));
        let summary = StageSummary { clusters: Some(clusters), ..summary };
        let json = serde_json::to_string(&summary).unwrap();
        assert_eq!(serde_json::from_str::<StageSummary>(&json).unwrap(), summary);
        assert!(!json.contains("overlaps"), "{json}");
    }
}
