//! Records of a run, and how they are written to its folder.
//!
//! Objects cannot be appended to. A [`RecordWriter`] therefore collects JSON lines and uploads them as immutable parts,
//! `metrics/attempt-0003/part-000017.jsonl`, on a thread of its own. If two attempts recorded a step, the record of the
//! higher attempt counts.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::storage::{Folder, StorageError};
use crate::task_results::TasksRecord;

/// Metrics of a completed step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Number of this step, from 1.
    pub step: u64,
    /// Tokens consumed since the start of the run.
    pub tokens: u64,
    /// Mean cross-entropy of the step's global batch, in nats per token.
    #[serde(deserialize_with = "crate::json_numbers::null_is_nan")]
    pub loss: f64,
    /// Learning rate of the step's update.
    pub learning_rate: f64,
    /// Norm of the gradients before clipping.
    #[serde(deserialize_with = "crate::json_numbers::null_is_nan")]
    pub grad_norm: f64,
    /// Duration of the step, in milliseconds.
    pub step_ms: f64,
    /// Tokens of the global batch per second.
    pub tokens_per_second: f64,
    /// (6N + 12 L C T) x tokens/s / peak dense FLOP/s; `None` if no peak is known.
    pub mfu: Option<f64>,
    /// Time that the step waited for tokens, in milliseconds.
    pub data_wait_ms: f64,
    /// Time of the forward pass, over all micro batches, in milliseconds.
    #[serde(default)]
    pub forward_ms: f64,
    /// Time of the loss and the backward pass, over all micro batches, in milliseconds.
    #[serde(default)]
    pub backward_ms: f64,
    /// Time that the step waited for the exchange of gradients or weights with nothing else to do, in milliseconds.
    pub exposed_comm_ms: f64,
    /// Time of the norm, clipping and the update, in milliseconds.
    #[serde(default)]
    pub optimizer_ms: f64,
    /// Peak memory of rank 0, in bytes: of its GPU, or resident on the host.
    pub memory_bytes: u64,
}

/// Validation loss at a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationRecord {
    /// Number of completed steps when it was measured.
    pub step: u64,
    /// Mean cross-entropy in nats per token.
    #[serde(deserialize_with = "crate::json_numbers::null_is_nan")]
    pub validation_loss: f64,
    /// Number of sequences that it was measured on.
    pub validation_sequences: u64,
}

/// Cost of saving a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SaveRecord {
    /// Number of completed steps in the checkpoint.
    pub step: u64,
    /// Time for which rank 0's training stood still for the copy to host memory, in milliseconds.
    pub save_stall_ms: f64,
    /// Time from the start of the copy until all ranks knew, after a step, that the checkpoint was committed, in seconds.
    pub save_seconds: f64,
}

/// All metrics of a run, with one entry per step.
#[derive(Debug, Default, PartialEq)]
pub struct RunMetrics {
    /// Step records, by step.
    pub steps: BTreeMap<u64, StepRecord>,
    /// Validation losses, by step.
    pub validations: BTreeMap<u64, ValidationRecord>,
    /// Results of evaluation tasks, by step.
    pub tasks: BTreeMap<u64, TasksRecord>,
    /// Costs of saves, by step.
    pub saves: BTreeMap<u64, SaveRecord>,
}

impl RunMetrics {
    /// Reads `metrics/` of the run folder `run`. Skips lines that are not records, with a warning.
    pub fn read(run: &Folder) -> Result<Self, StorageError> {
        let folder = run.folder("metrics");
        let mut metrics = RunMetrics::default();
        // Names sort by attempt, then by part, so records of later attempts replace those of earlier ones.
        for object in folder.list()? {
            for line in read_lines(&folder, &object.name)? {
                match line {
                    Record::Step(record) => drop(metrics.steps.insert(record.step, record)),
                    Record::Validation(record) => drop(metrics.validations.insert(record.step, record)),
                    Record::Tasks(record) => drop(metrics.tasks.insert(record.step, record)),
                    Record::Save(record) => drop(metrics.saves.insert(record.step, record)),
                }
            }
        }
        Ok(metrics)
    }

    /// Returns the last step for which one of `attempts` of the run folder `run` has recorded a checkpoint.
    pub(crate) fn saved_by(run: &Folder, attempts: Range<u32>) -> Result<Option<u64>, StorageError> {
        let folder = run.folder("metrics");
        let mut last = None;
        for object in folder.list()? {
            if !attempt_of(&object.name).is_some_and(|of| attempts.contains(&of)) {
                continue;
            }
            let saves = read_lines(&folder, &object.name)?.into_iter();
            last = last
                .max(saves.filter_map(|line| if let Record::Save(save) = line { Some(save.step) } else { None }).max());
        }
        Ok(last)
    }
}

/// Returns the attempt that wrote the object `name` in `metrics/`.
pub fn attempt_of(name: &str) -> Option<u32> {
    name.strip_prefix("attempt-")?.split_once('/')?.0.parse().ok()
}

/// Latest records of a run.
#[derive(Debug, Default, PartialEq)]
pub struct LatestMetrics {
    /// Last step recorded by the newest attempt that recorded any.
    pub step: Option<StepRecord>,
    /// Last validation loss.
    pub validation: Option<ValidationRecord>,
}

impl LatestMetrics {
    /// Largest number of parts searched for a validation loss. While records arrive, a part is written every 5 s, and at each
    /// flush.
    const PARTS_MAX: usize = 256;

    /// Reads the newest parts of `metrics/` of the run folder `run`, as many as are needed. Skips lines that are not
    /// records, with a warning.
    pub fn read(run: &Folder) -> Result<Self, StorageError> {
        let folder = run.folder("metrics");
        let mut latest = LatestMetrics::default();
        for object in folder.list()?.iter().rev().take(Self::PARTS_MAX) {
            for line in read_lines(&folder, &object.name)?.into_iter().rev() {
                match line {
                    Record::Step(record) => drop(latest.step.get_or_insert(record)),
                    Record::Validation(record) => drop(latest.validation.get_or_insert(record)),
                    Record::Tasks(_) | Record::Save(_) => {}
                }
            }
            if latest.step.is_some() && latest.validation.is_some() {
                break;
            }
        }
        Ok(latest)
    }
}

/// Returns the lines of the object called `name`. A line that is torn or overwritten hides no other.
fn read_lines(folder: &Folder, name: &str) -> Result<Vec<Record>, StorageError> {
    let content = folder.get(name)?;
    let lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let (records, faults): (Vec<_>, Vec<_>) = lines.map(serde_json::from_slice).partition(Result::is_ok);
    if let Some(Err(first)) = faults.first() {
        tracing::warn!("{}: lines that are no records: {}, the first: {first}", folder.url_of(name), faults.len());
    }
    Ok(records.into_iter().flatten().collect())
}

/// A line of metrics.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Record {
    /// Of a completed step.
    Step(StepRecord),
    /// Of a validation loss.
    Validation(ValidationRecord),
    /// Of evaluation tasks.
    Tasks(TasksRecord),
    /// Of a save.
    Save(SaveRecord),
}

impl Record {
    /// Returns the number of the step that this is about.
    pub fn step(&self) -> u64 {
        match self {
            Record::Step(record) => record.step,
            Record::Validation(record) => record.step,
            Record::Tasks(record) => record.step,
            Record::Save(record) => record.step,
        }
    }
}

/// Longest time that a record waits for its upload.
const PART_INTERVAL: Duration = Duration::from_secs(5);

enum Command {
    Append(String),
    Flush(Sender<Result<(), StorageError>>),
}

/// Writer of records as JSON lines, in immutable parts below one folder.
///
/// Only one writer may use a folder: each attempt and each process has its own.
pub struct RecordWriter {
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl RecordWriter {
    /// Starts a writer of `part-NNNNNN.jsonl` objects in `folder`.
    pub fn start(folder: Folder) -> io::Result<Self> {
        let (commands, receiver) = mpsc::channel();
        let thread = Builder::new().name("records".into()).spawn(move || write_parts(&folder, &receiver))?;
        Ok(RecordWriter { commands: Some(commands), thread: Some(thread) })
    }

    /// Queues one record. Never waits.
    pub fn append(&self, record: &impl Serialize) {
        let line = serde_json::to_string(record).unwrap_or_else(|e| unreachable!("a record is JSON: {e}"));
        self.send(Command::Append(line));
    }

    /// Asks for everything queued to be written. The receiver gets the result once it is durable.
    pub fn flush(&self) -> Receiver<Result<(), StorageError>> {
        let (reply, result) = mpsc::channel();
        self.send(Command::Flush(reply));
        result
    }

    fn send(&self, command: Command) {
        // The thread runs until this sender is dropped.
        let _ = self.commands.as_ref().map(|commands| commands.send(command));
    }
}

impl Drop for RecordWriter {
    /// Writes what is queued, and waits until that is done.
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn write_parts(folder: &Folder, commands: &Receiver<Command>) {
    let mut part = Part { folder, lines: String::new(), number: 0 };
    let mut due = Instant::now() + PART_INTERVAL;
    loop {
        match commands.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(Command::Append(line)) => {
                part.lines.push_str(&line);
                part.lines.push('\n');
                continue;
            }
            Ok(Command::Flush(reply)) => {
                let _ = reply.send(part.write());
            }
            Err(reason) => {
                if let Err(error) = part.write() {
                    tracing::warn!("records wait for storage: {error}");
                }
                if reason == RecvTimeoutError::Disconnected {
                    return;
                }
            }
        }
        due = Instant::now() + PART_INTERVAL;
    }
}

struct Part<'a> {
    folder: &'a Folder,
    lines: String,
    number: u64,
}

impl Part<'_> {
    /// Uploads the lines. If that fails, keeps them for the next try.
    fn write(&mut self) -> Result<(), StorageError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let name = format!("part-{:06}.jsonl", self.number);
        self.folder.put(&name, Bytes::from(self.lines.clone()))?;
        self.lines.clear();
        self.number += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StorageConfig;
    use crate::task_results::TaskResult;

    fn step(step: u64, loss: f64) -> StepRecord {
        StepRecord {
            step,
            tokens: step * 10,
            loss,
            learning_rate: 0.1,
            grad_norm: 1.0 / 3.0,
            step_ms: 1.0,
            tokens_per_second: 1.0,
            mfu: None,
            data_wait_ms: 0.0,
            forward_ms: 0.0,
            backward_ms: 0.0,
            exposed_comm_ms: 0.0,
            optimizer_ms: 0.0,
            memory_bytes: 1,
        }
    }

    #[test]
    fn the_highest_attempt_counts_and_floats_round_trip() {
        let run = Folder::open("memory://metrics", &StorageConfig::default()).unwrap();
        let first = RecordWriter::start(run.folder("metrics/attempt-0001")).unwrap();
        first.append(&step(1, 0.1 + 0.2));
        first.append(&step(2, 2.0));
        first.flush().recv().unwrap().unwrap();
        drop(first);
        let second = RecordWriter::start(run.folder("metrics/attempt-0002")).unwrap();
        second.append(&step(2, 1.5));
        second.append(&step(3, f64::NAN));
        second.append(&ValidationRecord { step: 2, validation_loss: 3.0, validation_sequences: 7 });
        let save = SaveRecord { step: 2, save_stall_ms: 0.1 + 0.2, save_seconds: 1.0 / 3.0 };
        second.append(&save);
        let result = TaskResult { metric: "acc".into(), value: 1.0 / 3.0, standard_error: Some(0.1 + 0.2), items: 7 };
        let tasks =
            TasksRecord { step: 2, tasks: BTreeMap::from([("wsc273_full".into(), result)]), tasks_seconds: 0.1 };
        second.append(&tasks);
        drop(second);
        let metrics = RunMetrics::read(&run).unwrap();
        assert_eq!(metrics.steps[&1], step(1, 0.1 + 0.2));
        assert_eq!(metrics.steps[&2].loss, 1.5);
        assert!(metrics.steps[&3].loss.is_nan());
        assert_eq!(metrics.validations[&2].validation_loss, 3.0);
        assert_eq!(metrics.saves, BTreeMap::from([(2, save)]));
        assert_eq!(metrics.tasks, BTreeMap::from([(2, tasks)]));
        assert_eq!(run.folder("metrics").list().unwrap().len(), 2);
        let latest = LatestMetrics::read(&run).unwrap();
        assert_eq!(latest.step.map(|record| record.step), Some(3));
        assert_eq!(latest.validation.map(|record| record.validation_loss), Some(3.0));
    }

    #[test]
    fn a_torn_line_hides_no_other() {
        let run = Folder::open("memory://torn-metrics", &StorageConfig::default()).unwrap();
        let line = |number| serde_json::to_string(&step(number, 2.0)).unwrap();
        let torn = format!("{}\n{{\"step\": 2, \"tok\n\u{fffd}\n{}\n", line(1), line(3));
        run.put("metrics/attempt-0001/part-000000.jsonl", torn.into()).unwrap();
        assert!(RunMetrics::read(&run).unwrap().steps.into_keys().eq([1, 3]));
        assert_eq!(LatestMetrics::read(&run).unwrap().step, Some(step(3, 2.0)));
    }
}
