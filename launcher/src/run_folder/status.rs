//! The state of a run, as anyone who can read its folder sees it.

use common::attempt::{self, History};
use common::checkpoint_store;
use common::config::RawConfig;
use common::exit_code::ExitCode;
use common::metrics::{LatestMetrics, StepRecord, ValidationRecord};
use common::storage::{Folder, StorageError};
use serde::{Deserialize, Serialize};

use crate::error::LaunchError;

/// State and progress of a run.
#[derive(Debug, Serialize)]
pub struct RunStatus {
    /// URL of the run folder.
    pub url: String,
    /// Value of `run.name`; `None` where the folder has no config, since nothing was ever started there.
    pub name: Option<String>,
    /// State of the run in a word.
    pub state: State,
    /// Number of attempts so far.
    pub attempts: u32,
    /// Attempt that holds the run; `None` if no attempt does.
    pub holder: Option<Holder>,
    /// Value of `train.max_steps`.
    pub max_steps: Option<u64>,
    /// Last step with a stored record.
    pub last_step: Option<StepRecord>,
    /// Last validation loss.
    pub validation: Option<ValidationRecord>,
    /// Newest committed checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// End of the last attempt whose end a launcher saw.
    pub last_end: Option<AttemptEnd>,
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing was ever started.
    New,
    /// An attempt holds the run.
    Running,
    /// All steps are done and committed.
    Done,
    /// The run was stopped on request.
    Stopped,
    /// The last attempt was refused: its config, or how it was started, cannot work.
    Refused,
    /// The last attempt failed.
    Failed,
    /// Nobody holds the run, and it did not end by itself: somebody ended it at once, or nobody saw how it ended.
    Interrupted,
}

/// The attempt that holds a run.
#[derive(Debug, Serialize)]
pub struct Holder {
    /// Number of the attempt.
    pub attempt: u32,
    /// Claimant of the attempt, for people.
    pub claimant: String,
    /// Seconds since its last sign of life, by this machine's clock against the claimant's.
    pub seen_s_ago: u64,
}

/// A committed checkpoint.
#[derive(Debug, Serialize)]
pub struct Checkpoint {
    /// Name of the checkpoint's folder.
    pub name: String,
    /// Number of completed steps.
    pub step: u64,
}

/// How an attempt ended: the launcher's event `attempt_ended`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// Number of the attempt.
    #[serde(default)]
    pub attempt: u32,
    /// Exit code of the attempt.
    pub code: i32,
    /// Cause in one line.
    pub cause: String,
    /// What the rank, or mpirun, said about it; may be empty.
    #[serde(default)]
    pub message: String,
    /// Whether somebody had asked for the end.
    #[serde(default)]
    pub stop_requested: bool,
}

impl RunStatus {
    /// Reads the state of the run in `run`. Metrics and events that make no sense are left out; a config that cannot be read
    /// is an error.
    pub fn read(run: &Folder) -> Result<Self, LaunchError> {
        let config = config(run)?;
        let holder = attempt::current(run)?.map(|holding| Holder {
            attempt: holding.attempt.attempt,
            claimant: holding.attempt.claimant(),
            seen_s_ago: common::clock::unix_s().saturating_sub(holding.seen_at_unix_s),
        });
        let metrics = LatestMetrics::read(run)?;
        let checkpoint =
            checkpoint_store::newest(run)?.map(|name| Checkpoint { name: name.to_string(), step: name.step });
        let mut status = RunStatus {
            url: run.url().to_owned(),
            name: config.as_ref().map(|config| config.0.clone()),
            state: State::New,
            attempts: History::read(run)?.newest(),
            holder,
            max_steps: config.map(|config| config.1),
            last_step: metrics.step,
            validation: metrics.validation,
            checkpoint,
            last_end: last_end(run)?,
        };
        status.state = status.judge();
        Ok(status)
    }

    fn judge(&self) -> State {
        let is_complete = || self.max_steps.is_some_and(|max| self.checkpoint.as_ref().is_some_and(|c| c.step >= max));
        let end = self.last_end.as_ref().filter(|end| end.attempt == self.attempts);
        match (&self.holder, end.map(|end| (ExitCode::from_number(end.code), end.stop_requested))) {
            _ if self.attempts == 0 => State::New,
            (Some(_), _) => State::Running,
            (None, _) if is_complete() => State::Done,
            (None, Some((ExitCode::Stopped, _))) => State::Stopped,
            (None, Some((ExitCode::Config, _))) => State::Refused,
            (None, None | Some((ExitCode::Communication, true))) => State::Interrupted,
            (None, Some(_)) => State::Failed,
        }
    }

    /// Returns the time that the remaining steps take at the pace of the last step; `None` unless an attempt runs.
    pub fn seconds_left(&self) -> Option<f64> {
        let (step, max) = (self.last_step.as_ref()?, self.max_steps?);
        (self.state == State::Running).then(|| max.saturating_sub(step.step) as f64 * step.step_ms / 1e3)
    }
}

/// Returns `run.name` and `train.max_steps` of the config that the run was last started with.
fn config(run: &Folder) -> Result<Option<(String, u64)>, LaunchError> {
    let Some(text) = run.get_if_exists("config.toml")? else { return Ok(None) };
    let raw = RawConfig::parse_bytes(&run.url_of("config.toml"), &text, &[])?;
    let config = raw.run()?;
    Ok(Some((config.run.name, config.train.max_steps)))
}

/// Returns the last `attempt_ended` or `stopped` of the newest journal that has one.
fn last_end(run: &Folder) -> Result<Option<AttemptEnd>, StorageError> {
    let folder = run.folder("events");
    let journals = |name: &str| name.split_once('/').is_some_and(|(journal, _)| journal.ends_with("-launcher"));
    for object in folder.list()?.iter().rev().filter(|object| journals(&object.name)) {
        let content = folder.get(&object.name)?;
        let ends = content.split(|byte| *byte == b'\n').rev().filter_map(end_in);
        if let Some(end) = ends.into_iter().next() {
            return Ok(Some(end));
        }
    }
    Ok(None)
}

fn end_in(line: &[u8]) -> Option<AttemptEnd> {
    let event: serde_json::Value = serde_json::from_slice(line).ok()?;
    (event["kind"] == "attempt_ended" || event["kind"] == "stopped").then(|| serde_json::from_value(event).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use common::config::StorageConfig;
    use serde_json::json;

    use crate::run_folder::journal::Journal;

    #[test]
    fn a_run_is_as_its_holder_its_checkpoints_and_its_last_end_say() {
        let run = Folder::open("memory://run-status", &StorageConfig::default()).unwrap();
        let state = || RunStatus::read(&run).unwrap().state;
        assert_eq!(state(), State::New);
        let claimant = attempt::Claimant { ranks: 2, expiry: std::time::Duration::from_secs(60), holds: None };
        let claim = attempt::acquire(&run, &claimant, &mut |_| true).unwrap().unwrap();
        let holder = attempt::Holder::start(&run, claim, claimant.expiry, |_| {}).unwrap();
        let status = RunStatus::read(&run).unwrap();
        assert_eq!((status.state, status.attempts, status.holder.unwrap().attempt), (State::Running, 1, 1));
        drop(holder);
        assert_eq!(state(), State::Interrupted);
        for (code, asked, expected) in [
            (4, false, State::Failed),
            (4, true, State::Interrupted),
            (2, false, State::Refused),
            (3, true, State::Failed),
            (75, true, State::Stopped),
        ] {
            // Each journal is of another launch; a later one replaces the part of an earlier one.
            let journal = Journal::start(&run, 1).unwrap();
            let end = json!({ "attempt": 1, "code": code, "cause": "rank 1 failed", "stop_requested": asked });
            journal.note("attempt_ended", end);
            journal.note("restart", json!({ "delay_s": 1.0 }));
            drop(journal);
            let status = RunStatus::read(&run).unwrap();
            assert_eq!(status.state, expected);
            assert_eq!(status.last_end.unwrap().cause, "rank 1 failed");
        }
        // The run was stopped between two attempts, of which the first had failed.
        let journal = Journal::start(&run, 1).unwrap();
        journal.note("attempt_ended", json!({ "attempt": 1, "code": 4, "cause": "rank lost" }));
        journal.note("stopped", json!({ "attempt": 1, "code": 75, "cause": "stopped while waiting to restart" }));
        drop(journal);
        assert_eq!(state(), State::Stopped);
        run.put("config.toml", Bytes::from_static(b"nonsense")).unwrap();
        assert!(RunStatus::read(&run).is_err());
    }
}
