//! `[checkpoint]`: when to save and what to keep.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::section::Section;

/// `[checkpoint]`. A run also saves at its end and when it is asked to stop.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckpointConfig {
    /// Save after every so many steps; 0 for not by steps. Default 1000.
    pub every_steps: u64,
    /// Save when the last save was begun so many minutes ago, by rank 0's clock; 0 for not by time. Default 0.
    pub every_minutes: f64,
    /// Save for the first time so many seconds after an attempt's start, so that broken storage is found early; 0 for not
    /// before its time. Does nothing where neither steps nor minutes are given. Default 30.
    pub first_after_s: u64,
    /// What happens when a save is due and the one before is still under way. Default `skip`.
    pub when_busy: WhenBusy,
    /// So many saves in a row that fail end the run. Default 3.
    pub max_failures: u32,
    /// Keep this many of the newest committed checkpoints; 0 keeps all. Default 3.
    pub keep_last: u64,
    /// Keep those of every so many steps for good; 0 for none. Default 0.
    pub keep_every_steps: u64,
    /// How fast each rank may write a checkpoint, in bytes per second; 0 for as fast as it goes. Default 0.
    pub max_upload_bytes_per_s: u64,
    /// What a resume does when the newest checkpoint fails to verify. Default `previous`.
    pub on_corrupt: OnCorrupt,
    /// A folder on every host, on a fast disk, for checkpoints between those in the run folder; empty for none. Default empty.
    pub local_dir: String,
    /// Save there after every so many steps; 0 for not by steps. Default 0.
    pub local_every_steps: u64,
    /// Save there when the last save anywhere was begun so many minutes ago; 0 for not by time. Default 0.
    pub local_every_minutes: f64,
    /// Keep this many of the newest there. Default 2.
    pub local_keep_last: u64,
}

/// `checkpoint.when_busy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenBusy {
    /// Leave the new one out, and say so.
    Skip,
    /// Stop the steps until the one before is committed, and say so.
    Wait,
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

    /// Which checkpoints stay.
    pub fn retention(&self) -> Retention {
        Retention { keep_last: self.keep_last, keep_every_steps: self.keep_every_steps }
    }

    /// How long after the last save by time the next one is due; `None` for never.
    pub fn interval(&self) -> Option<Duration> {
        minutes(self.every_minutes)
    }

    /// The same on the hosts, after the last save anywhere.
    pub fn local_interval(&self) -> Option<Duration> {
        minutes(self.local_every_minutes)
    }

    /// How long after its start an attempt saves at the latest; `None` for not before its time.
    pub fn first_after(&self) -> Option<Duration> {
        let saves = self.every_steps > 0 || self.every_minutes > 0.0;
        (saves && self.first_after_s > 0).then(|| Duration::from_secs(self.first_after_s))
    }
}

/// Which checkpoints stay, whatever else goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// So many of the newest; 0 keeps all.
    pub keep_last: u64,
    /// Those of every so many steps, for good; 0 for none.
    pub keep_every_steps: u64,
}

fn minutes(minutes: f64) -> Option<Duration> {
    (minutes > 0.0).then(|| Duration::from_secs_f64(60.0 * minutes))
}
