//! What all attempts of one launch have in common, and what is known of them together.

use common::attempt::Claim;
use common::config::RunConfig;
use common::metrics::ValidationRecord;
use common::storage::Folder;

use super::pace::Pace;
use crate::backend::Backend;

/// What all attempts of one launch have in common.
pub struct Job {
    /// Resolved, with absolute URLs.
    pub config: RunConfig,
    /// Keys of it that may differ from the checkpoint's.
    pub accepted_changes: Vec<String>,
    /// How its ranks are started.
    pub backend: Box<dyn Backend>,
    /// The run folder.
    pub run: Folder,
    /// The attempt that a launcher elsewhere has claimed, keeps alive, and has this one run.
    pub handed: Option<Claim>,
}

/// What the ranks have reported, over all attempts of one launch.
#[derive(Debug, Default)]
pub struct Seen {
    /// The highest completed step.
    pub step_max: u64,
    /// The last validation loss.
    pub validation: Option<ValidationRecord>,
    /// How long steps take.
    pub pace: Pace,
}
