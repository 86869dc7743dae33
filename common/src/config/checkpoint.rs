//! `[checkpoint]`: when to save and what to keep.

use serde::{Deserialize, Serialize};

use super::section::Section;

/// `[checkpoint]`. A run also saves at its end and when it is asked to stop.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckpointConfig {
    /// Save after every so many steps; 0 for only at the end. Default 1000.
    pub every_steps: u64,
    /// Keep this many of the newest committed checkpoints; 0 keeps all. Default 3.
    pub keep_last: u64,
    /// How fast each rank may write a checkpoint, in bytes per second; 0 for as fast as it goes. Default 0.
    pub max_upload_bytes_per_s: u64,
    /// What a resume does when the newest checkpoint fails to verify. Default `previous`.
    pub on_corrupt: OnCorrupt,
}

/// `checkpoint.on_corrupt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCorrupt {
    /// Fall back to the checkpoint before it, and say so.
    Previous,
    /// End with exit code 3.
    Stop,
}

impl CheckpointConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        CheckpointConfig {
            every_steps: section.or("every_steps", 1000),
            keep_last: section.or("keep_last", 3),
            max_upload_bytes_per_s: section.or("max_upload_bytes_per_s", 0),
            on_corrupt: section.or("on_corrupt", OnCorrupt::Previous),
        }
    }
}
