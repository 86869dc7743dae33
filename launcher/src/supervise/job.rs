//! Data that all attempts of one launch share.

use common::attempt::Claim;
use common::config::RunConfig;
use common::metrics::ValidationRecord;
use common::storage::Folder;

use super::pace::Pace;
use crate::backend::Backend;

/// Parameters of all attempts of one launch.
pub struct Job {
    /// Config of the run, resolved, with absolute URLs.
    pub config: RunConfig,
    /// Config keys that may differ from the checkpoint's.
    pub accepted_changes: Vec<String>,
    /// Backend that starts the ranks.
    pub backend: Box<dyn Backend>,
    /// The run folder.
    pub run: Folder,
    /// Attempt that a launcher elsewhere has claimed, keeps alive, and has this one run; `None` where this one claims
    /// attempts.
    pub handed: Option<Claim>,
}

/// Reports of the ranks over all attempts of one launch.
#[derive(Debug, Default)]
pub struct Seen {
    /// Highest completed step.
    pub step_max: u64,
    /// Loss of the last completed step; `None` if this launch has completed none.
    pub loss: Option<f64>,
    /// Last validation loss.
    pub validation: Option<ValidationRecord>,
    /// Duration of steps.
    pub pace: Pace,
}
