//! Messages between ranks about their parts of a save, and about why one failed.

use common::exit_code::ExitCode;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{CheckpointError, RankObjects};

/// Message of a rank to the others about its part of a save.
#[derive(Serialize, Deserialize)]
pub(super) enum Part {
    Written(RankObjects),
    Failed(Failure),
}

/// Reason why a save failed, as a message between ranks.
#[derive(Serialize, Deserialize)]
pub(super) struct Failure {
    pub code: ExitCode,
    pub message: String,
    /// Whether another save would fail as well.
    pub ends_run: bool,
}

impl From<&CheckpointError> for Failure {
    fn from(error: &CheckpointError) -> Self {
        Failure { code: error.exit_code(), message: error.to_string(), ends_run: error.is_fenced() }
    }
}
