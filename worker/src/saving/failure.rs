//! What ranks tell each other about their parts of a save, and why one failed.

use common::exit_code::ExitCode;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{CheckpointError, RankObjects};

/// What a rank tells the others about its part of a save.
#[derive(Serialize, Deserialize)]
pub(super) enum Part {
    Written(RankObjects),
    Failed(Failure),
}

/// Why a save failed, as ranks tell each other.
#[derive(Serialize, Deserialize)]
pub(super) struct Failure {
    pub code: ExitCode,
    pub message: String,
    /// Another save would fail as well.
    pub ends_run: bool,
}

impl From<&CheckpointError> for Failure {
    fn from(error: &CheckpointError) -> Self {
        Failure { code: error.exit_code(), message: error.to_string(), ends_run: error.is_fenced() }
    }
}
