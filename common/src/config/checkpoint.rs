//! `[checkpoint]`: when to save and what to keep.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::section::Section;

/// Section `[checkpoint]`. A run also saves at its end, and when it is asked to stop.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckpointConfig {
    /// Save every N steps; 0 disables. Default 1000.
    pub every_steps: u64,
    /// Save when N minutes have passed since the last save began, by rank 0's clock; 0 disables. Default 0.
    pub every_minutes: f64,
    /// Save for the first time N seconds after an attempt's start, so that broken storage is found early; 0 disables. Has no
    /// effect unless `every_steps` or `every_minutes` is set. Default 30.
    pub first_after_s: u64,
    /// What happens when a save is due while the previous one is still being written. Default `skip`.
    pub when_busy: WhenBusy,
    /// End the run after N failed saves in a row. Default 3.
    pub max_failures: u32,
    /// Keep the N newest committed checkpoints; 0 keeps all. Default 3.
    pub keep_last: u64,
    /// Keep every checkpoint whose step is a multiple of N for good; 0 disables. Default 0.
    pub keep_every_steps: u64,
    /// Largest rate at which each rank writes a checkpoint, in bytes per second; 0 for no limit. Default 0.
    pub max_upload_bytes_per_s: u64,
    /// What a resume does when the newest checkpoint fails verification. Default `previous`.
    pub on_corrupt: OnCorrupt,
    /// Folder on every host, on a fast disk, for checkpoints between those in the run folder; empty disables. Default empty.
    pub local_dir: String,
    /// Save to `local_dir` every N steps; 0 disables. Default 0.
    pub local_every_steps: u64,
    /// Save to `local_dir` when N minutes have passed since the last save of either kind began; 0 disables. Default 0.
    pub local_every_minutes: f64,
    /// Keep the N newest checkpoints in `local_dir`. Default 2.
    pub local_keep_last: u64,
}

/// Values of `checkpoint.when_busy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenBusy {
    /// Skip the new save, and report it.
    Skip,
    /// Stop the steps until the previous save is committed, and report it.
    Wait,
}

/// Values of `checkpoint.on_corrupt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCorrupt {
    /// Fall back to the previous checkpoint, and report it.
    Previous,
    /// End with exit code 3.
    Stop,
}

impl CheckpointConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let checkpoint = CheckpointConfig {
            every_steps: section.or("every_steps", 1000),
            every_minutes: section.or("every_minutes", 0.0),
            first_after_s: section.or("first_after_s", 30),
            when_busy: section.or("when_busy", WhenBusy::Skip),
            max_failures: section.or("max_failures", 3),
            keep_last: section.or("keep_last", 3),
            keep_every_steps: section.or("keep_every_steps", 0),
            max_upload_bytes_per_s: section.or("max_upload_bytes_per_s", 0),
            on_corrupt: section.or("on_corrupt", OnCorrupt::Previous),
            local_dir: section.or("local_dir", String::new()),
            local_every_steps: section.or("local_every_steps", 0),
            local_every_minutes: section.or("local_every_minutes", 0.0),
            local_keep_last: section.or("local_keep_last", 2),
        };
        let is_used = checkpoint.local_every_steps > 0 || checkpoint.local_every_minutes > 0.0;
        section.require(
            checkpoint.local_dir.is_empty() != is_used,
            "local_dir",
            format!("{:?}", checkpoint.local_dir),
            "goes together with local_every_steps or local_every_minutes; give a folder and one of these, or none of them",
        );
        checkpoint
    }

    /// Returns which checkpoints stay.
    pub fn retention(&self) -> Retention {
        Retention { keep_last: self.keep_last, keep_every_steps: self.keep_every_steps }
    }

    /// Returns the time from one save to the next by time, or `None` if saves by time are disabled.
    pub fn interval(&self) -> Option<Duration> {
        minutes(self.every_minutes)
    }

    /// Returns the time from the last save of either kind to the next one on the hosts by time, or `None` if that is disabled.
    pub fn local_interval(&self) -> Option<Duration> {
        minutes(self.local_every_minutes)
    }

    /// Returns the time after an attempt's start at which it saves first, or `None` if it saves only when the schedule says so.
    pub fn first_after(&self) -> Option<Duration> {
        let saves = self.every_steps > 0 || self.every_minutes > 0.0;
        (saves && self.first_after_s > 0).then(|| Duration::from_secs(self.first_after_s))
    }
}

/// Policy that decides which checkpoints are never pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Number of newest checkpoints that stay; 0 keeps all.
    pub keep_last: u64,
    /// Checkpoints whose step is a multiple of this stay for good; 0 for none.
    pub keep_every_steps: u64,
}

fn minutes(minutes: f64) -> Option<Duration> {
    (minutes > 0.0).then(|| Duration::from_secs_f64(60.0 * minutes))
}
