//! Reads the metrics of a run as rows: one for each step that counts, in the order of the steps, and in bounded memory.
//!
//! The attempts of a run follow each other. What an attempt has recorded counts up to the checkpoint from which a later one
//! went on ([`History::last_step_of`]), and the records of an attempt are in the order of its steps. Rows are therefore read
//! attempt by attempt. If nothing tells of attempts, because metrics alone have been copied, a later attempt went on where
//! its first record says.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use common::attempt::{AttemptError, Claim, History, claim_of};
use common::exit_code::ExitCode;
use common::figures::counted;
use common::metrics::{Record, StepRecord, ValidationRecord, attempt_of};
use common::storage::{Folder, ObjectInfo, Reader, StorageError};
use common::task_results::TasksRecord;

/// Size of the longest line that can be a record, in bytes. A record has a few hundred.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Size of a request, in bytes. Most parts are smaller.
const REQUEST_BYTES: u64 = 256 << 10;
/// Number of lines that are named before others are only counted.
const NAMED_MAX: usize = 8;

/// Why there are no rows.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// Nothing was recorded.
    #[error("no step is recorded in {url}; `launcher status` shows whether anything trains there")]
    Nothing {
        /// The folder of the metrics.
        url: String,
    },
    /// Nothing that was recorded can be read.
    #[error("no record can be read in {url}: {}, the first: {first}", counted(*lines, "damaged line"))]
    Unreadable {
        /// The folder of the metrics.
        url: String,
        /// Number of lines.
        lines: u64,
        /// Place and fault of the first.
        first: String,
    },
    /// The rows cannot be written.
    #[error("cannot write standard output: {0}")]
    Output(#[source] std::io::Error),
}

impl MetricsError {
    /// Returns the exit code of a process that ends because of this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            MetricsError::Nothing { .. } | MetricsError::Unreadable { .. } => ExitCode::Data,
            MetricsError::Output(_) => ExitCode::Storage,
        }
    }
}

/// Metrics of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Number of completed steps.
    pub step: u64,
    /// Attempt that recorded the step, or else its validation loss or its tasks.
    pub attempt: u32,
    /// Record of the step; `None` if there are only a validation loss or tasks.
    pub record: Option<StepRecord>,
    /// Validation loss after the step.
    pub validation: Option<ValidationRecord>,
    /// Results of evaluation tasks after the step.
    pub tasks: Option<TasksRecord>,
}

impl Row {
    fn of(record: Record, attempt: u32) -> Self {
        let mut row = Row { step: record.step(), attempt, record: None, validation: None, tasks: None };
        row.take(record, attempt);
        row
    }

    /// Takes another record of the step. A later one replaces an earlier one of its kind.
    fn take(&mut self, record: Record, attempt: u32) {
        match record {
            Record::Step(record) => (self.record, self.attempt) = (Some(record), attempt),
            Record::Validation(record) => self.validation = Some(record),
            Record::Tasks(record) => self.tasks = Some(record),
            Record::Save(_) => {}
        }
    }
}

/// Lines that were left out.
#[derive(Debug, Default)]
pub struct Damage {
    /// Number of lines.
    pub lines: u64,
    /// Place and fault of the first ones.
    pub named: Vec<String>,
}

/// Reader of a run's metrics, row by row.
pub struct Rows {
    folder: Folder,
    /// Parts that have not been opened yet.
    parts: VecDeque<Part>,
    /// Parts that are being read: the first line by line, the others ahead.
    open: VecDeque<(Part, Lines)>,
    /// Row to which more records may belong.
    row: Option<Row>,
    damage: Damage,
}

/// An object with records of an attempt.
#[derive(Debug, Clone)]
struct Part {
    name: String,
    bytes: u64,
    attempt: u32,
    /// Last step of the attempt that counts.
    last_step: u64,
}

impl Rows {
    /// Looks for the metrics of the run folder `run`.
    pub fn open(run: &Folder) -> Result<Self, StorageError> {
        let folder = run.folder("metrics");
        let mut attempts: BTreeMap<u32, Vec<ObjectInfo>> = BTreeMap::new();
        for object in folder.list()?.into_iter().filter(|object| object.name.ends_with(".jsonl")) {
            if let Some(attempt) = attempt_of(&object.name) {
                attempts.entry(attempt).or_default().push(object);
            }
        }
        // Numbers may have more digits than they are padded to.
        attempts.values_mut().for_each(|parts| parts.sort_by_key(|part| (part.name.len(), part.name.clone())));
        let mut rows = Rows::of(&folder, VecDeque::new());
        for (attempt, last_step) in last_steps(run, &folder, &attempts)? {
            let objects = attempts.remove(&attempt).filter(|_| last_step > 0).unwrap_or_default();
            rows.parts.extend(objects.into_iter().map(|object| Part::of(object, attempt, last_step)));
        }
        Ok(rows)
    }

    fn of(folder: &Folder, parts: VecDeque<Part>) -> Self {
        Rows { folder: folder.clone(), parts, open: VecDeque::new(), row: None, damage: Damage::default() }
    }

    /// Returns the next row, or `None` at the end. Lines that are no records are left out, and noted.
    pub fn next_row(&mut self) -> Result<Option<Row>, StorageError> {
        while let Some((record, attempt)) = self.next_record()? {
            match &mut self.row {
                Some(row) if record.step() == row.step => row.take(record, attempt),
                Some(row) if record.step() < row.step => {
                    let fault = format!("a record of step {} after one of step {}", record.step(), row.step);
                    self.note(&fault);
                }
                _ => {
                    if let Some(row) = self.row.replace(Row::of(record, attempt)) {
                        return Ok(Some(row));
                    }
                }
            }
        }
        Ok(self.row.take())
    }

    /// Returns the lines that were left out so far.
    pub fn damage(&self) -> &Damage {
        &self.damage
    }

    /// Returns the next record that counts, with its attempt.
    fn next_record(&mut self) -> Result<Option<(Record, u32)>, StorageError> {
        loop {
            self.open_ahead();
            let Some((part, lines)) = self.open.front_mut() else { return Ok(None) };
            match lines.next_line() {
                Ok(Some(line)) => match serde_json::from_slice::<Record>(line) {
                    Ok(Record::Save(_)) => {}
                    Ok(record) if record.step() > part.last_step => {}
                    Ok(record) => return Ok(Some((record, part.attempt))),
                    Err(error) => {
                        let fault = error.to_string();
                        // The line has been named, and the column says little.
                        let fault = fault.split(" at line ").next().unwrap_or_default();
                        self.note(&format!("no record: {fault}"));
                    }
                },
                Ok(None) => drop(self.open.pop_front()),
                // Somebody has deleted the part since it was listed.
                Err(StorageError::NotFound { .. }) => {
                    self.note("the object is gone");
                    self.open.pop_front();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens as many parts as may be read at once: a store takes its time for each.
    fn open_ahead(&mut self) {
        while self.open.len() < self.folder.concurrency().max(1)
            && let Some(part) = self.parts.pop_front()
        {
            let reader = self.folder.reader_by(&part.name, 0..part.bytes, REQUEST_BYTES);
            self.open.push_back((part, Lines::of(reader)));
        }
    }

    /// Notes the line that was read last as left out.
    fn note(&mut self, fault: &str) {
        self.damage.lines += 1;
        if let Some((part, lines)) = self.open.front()
            && self.damage.named.len() < NAMED_MAX
        {
            self.damage.named.push(format!("{}, line {}: {fault}", self.folder.url_of(&part.name), lines.number));
        }
    }
}

impl Part {
    fn of(object: ObjectInfo, attempt: u32, last_step: u64) -> Self {
        Part { name: object.name, bytes: object.bytes, attempt, last_step }
    }
}

/// Returns the last step that counts of each of `attempts`, whose parts lie in `folder` of the run folder `run`.
fn last_steps(
    run: &Folder,
    folder: &Folder,
    attempts: &BTreeMap<u32, Vec<ObjectInfo>>,
) -> Result<BTreeMap<u32, u64>, StorageError> {
    let history = History::read(run)?;
    let mut last_steps = BTreeMap::new();
    // Steps from which a later attempt went on, as its records tell.
    let mut continued_from = u64::MAX;
    for (attempt, objects) in attempts.iter().rev() {
        let claim = match claim_of(run, *attempt) {
            Ok(claim) => Some(claim),
            Err(AttemptError::Storage(error)) => return Err(error),
            Err(_) => None,
        };
        let last_step = match history.last_step_of(*attempt, claim.as_ref().map(Claim::tag)) {
            Some(last_step) => last_step,
            None => {
                let last_step = continued_from;
                let parts = objects.iter().map(|object| Part::of(object.clone(), *attempt, u64::MAX)).collect();
                let first = Rows::of(folder, parts).next_record()?;
                continued_from = continued_from.min(first.map_or(u64::MAX, |(record, _)| start_of(&record)));
                last_step
            }
        };
        last_steps.insert(*attempt, last_step);
    }
    Ok(last_steps)
}

/// Returns the number of steps that had been completed when an attempt began whose first record is `record`.
fn start_of(record: &Record) -> u64 {
    match record {
        Record::Step(record) => record.step.saturating_sub(1),
        Record::Validation(_) | Record::Tasks(_) | Record::Save(_) => record.step(),
    }
}

/// Lines of an object.
struct Lines {
    reader: Reader,
    rest: Bytes,
    line: Vec<u8>,
    /// Number of lines read.
    number: u64,
}

impl Lines {
    fn of(reader: Reader) -> Self {
        Lines { reader, rest: Bytes::new(), line: Vec::new(), number: 0 }
    }

    /// Returns the next line that is not empty, or `None` at the end. Only the beginning of a line that is too long is kept,
    /// which is no record.
    fn next_line(&mut self) -> Result<Option<&[u8]>, StorageError> {
        self.line.clear();
        let mut is_in_line = false;
        loop {
            if self.rest.is_empty() {
                match self.reader.next_bytes()? {
                    Some(bytes) => self.rest = bytes,
                    None if self.line.trim_ascii().is_empty() => return Ok(None),
                    None => break,
                }
                continue;
            }
            if !std::mem::replace(&mut is_in_line, true) {
                self.number += 1;
            }
            let end = self.rest.iter().position(|byte| *byte == b'\n');
            let piece = self.rest.split_to(end.map_or(self.rest.len(), |end| end + 1));
            let kept = piece.len().min(LINE_BYTES_MAX - self.line.len());
            self.line.extend_from_slice(&piece[..kept]);
            match end {
                Some(_) if self.line.trim_ascii().is_empty() => {
                    self.line.clear();
                    is_in_line = false;
                }
                Some(_) => break,
                None => {}
            }
        }
        Ok(Some(self.line.strip_suffix(b"\n").unwrap_or(&self.line)))
    }
}

#[cfg(test)]
mod tests {
    use common::attempt::{self, Claimant, record_start};
    use common::checkpoint_layout::CheckpointName;
    use common::config::StorageConfig;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::hostile::{changed, changes};

    const PART: &[u8] = include_bytes!("../../../tests/fuzz/seeds/metrics/part.jsonl");

    fn folder(name: &str) -> Folder {
        Folder::open(&format!("memory://rows-{name}"), &StorageConfig::default()).unwrap()
    }

    /// Returns a line about step `step` of attempt `attempt`, whose loss tells both.
    fn line(step: u64, attempt: u32) -> String {
        let record = json!({
            "step": step, "tokens": 16 * step, "loss": loss(step, attempt), "learning_rate": 1e-3, "grad_norm": null,
            "step_ms": 1.5, "tokens_per_second": 10.0, "mfu": null, "data_wait_ms": 0.0, "exposed_comm_ms": 0.0,
            "memory_bytes": 7,
        });
        record.to_string() + "\n"
    }

    fn loss(step: u64, attempt: u32) -> f64 {
        f64::from(attempt) + 1.0 / (step as f64 + 0.1)
    }

    fn put(run: &Folder, attempt: u32, part: u32, lines: &[String]) {
        run.put(&format!("metrics/attempt-{attempt:04}/part-{part:06}.jsonl"), lines.concat().into()).unwrap();
    }

    fn put_steps(run: &Folder, attempt: u32, steps: impl Iterator<Item = u64>) {
        steps.enumerate().for_each(|(part, step)| put(run, attempt, part as u32, &[line(step, attempt)]));
    }

    fn claim(run: &Folder) -> Claim {
        let claimant = Claimant { ranks: 1, expiry: std::time::Duration::from_secs(60), holds: None };
        let claim = attempt::acquire(run, &claimant, &mut |_| true).unwrap().unwrap();
        let holder = attempt::Holder::start(run, claim.clone(), claimant.expiry, |_| {}).unwrap();
        drop(holder);
        claim.claim()
    }

    /// Returns step and attempt of every row, and the number of lines that were left out.
    fn read(run: &Folder) -> (Vec<(u64, u32)>, u64) {
        let mut rows = Rows::open(run).unwrap();
        let mut found = Vec::new();
        while let Some(row) = rows.next_row().unwrap() {
            if let Some(record) = &row.record {
                assert_eq!(record.loss, loss(row.step, row.attempt));
            }
            found.push((row.step, row.attempt));
        }
        (found, rows.damage().lines)
    }

    fn of(attempt: u32, steps: std::ops::RangeInclusive<u64>) -> impl Iterator<Item = (u64, u32)> {
        steps.map(move |step| (step, attempt))
    }

    #[test]
    fn what_lies_beyond_the_checkpoint_that_a_later_attempt_went_on_from_does_not_count() {
        let run = folder("history");
        let start = |claim: &Claim, from: Option<&CheckpointName>| record_start(&run, claim, from).unwrap();
        let first = claim(&run);
        start(&first, None);
        put_steps(&run, 1, 1..=15);
        assert_eq!(read(&run).0, of(1, 1..=15).collect::<Vec<_>>());
        // The second went on from 10 and saved nothing, so the third did, too. It saved 20.
        let ten = first.name_checkpoint(10, "00000000");
        for (number, last) in [(2, 19), (3, 25)] {
            let claim = claim(&run);
            start(&claim, Some(&ten));
            put_steps(&run, number, 11..=last);
            assert_eq!(read(&run).0, of(1, 1..=10).chain(of(number, 11..=last)).collect::<Vec<_>>());
        }
        let third = common::attempt::claim_of(&run, 3).unwrap();
        start(&claim(&run), Some(&third.name_checkpoint(20, "00000000")));
        assert_eq!(read(&run).0, of(1, 1..=10).chain(of(3, 11..=20)).collect::<Vec<_>>());
        // Somebody has gone back to 10, and then to the beginning.
        start(&claim(&run), Some(&ten));
        assert_eq!(read(&run).0, of(1, 1..=10).collect::<Vec<_>>());
        start(&claim(&run), None);
        assert_eq!(read(&run), (Vec::new(), 0));
    }

    #[test]
    fn without_attempts_a_later_one_went_on_where_its_records_begin() {
        let run = folder("copied");
        put_steps(&run, 1, 1..=15);
        put_steps(&run, 2, 11..=13);
        let validation = json!({ "step": 13, "validation_loss": 0.1, "validation_sequences": 8 }).to_string();
        put(&run, 3, 0, &[validation]);
        put(&run, 10_000, 0, &[line(14, 10_000)]);
        let expected: Vec<_> = of(1, 1..=10).chain(of(2, 11..=13)).chain([(14, 10_000)]).collect();
        assert_eq!(read(&run), (expected, 0));
        let mut rows = Rows::open(&run).unwrap();
        let thirteenth = std::iter::from_fn(|| rows.next_row().unwrap()).find(|row| row.step == 13).unwrap();
        assert_eq!((thirteenth.attempt, thirteenth.validation.unwrap().validation_loss), (2, 0.1));
    }

    #[test]
    fn damaged_lines_are_named_and_counted_and_hide_no_other() {
        let run = folder("damaged");
        let torn = line(2, 1)[..40].to_owned() + "\n\n";
        put(&run, 1, 0, &[line(1, 1), torn, line(3, 1)]);
        let endless = "x".repeat(3 * REQUEST_BYTES as usize) + "\n";
        let save = json!({ "step": 3, "save_stall_ms": 1.0, "save_seconds": 2.0 }).to_string() + "\n";
        put(&run, 1, 1, &[endless, save, line(3, 1), line(2, 1), line(4, 1).trim().to_owned()]);
        run.put("metrics/attempt-0001/part-000002.jsonl", Bytes::from_static(b"\xff\n{}\n[1]\n")).unwrap();
        run.put("metrics/notes.txt", Bytes::from_static(b"not a record\n")).unwrap();
        assert_eq!(read(&run), (vec![(1, 1), (3, 1), (4, 1)], 6));
        let mut rows = Rows::open(&run).unwrap();
        while rows.next_row().unwrap().is_some() {}
        let named = rows.damage().named.join("\n");
        for expected in [
            "metrics/attempt-0001/part-000000.jsonl, line 2: no record: EOF while parsing",
            "part-000001.jsonl, line 1: no record: expected value",
            "part-000001.jsonl, line 4: a record of step 2 after one of step 3",
            "part-000002.jsonl, line 3: no record: ",
        ] {
            assert!(named.contains(expected), "no {expected:?} in:\n{named}");
        }
    }

    #[test]
    fn parts_are_read_in_the_order_of_their_numbers_whatever_their_digits() {
        let run = folder("digits");
        let numbers = [2, 999_999, 1_000_000, 10_000_000];
        numbers.iter().zip(1..).for_each(|(part, step)| put(&run, 1, *part, &[line(step, 1)]));
        assert_eq!(read(&run), (of(1, 1..=4).collect(), 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_a_part_holds_rows_ascend_and_every_line_is_read_or_counted(changes in changes()) {
            let run = folder("hostile");
            let content = changed(PART, &changes);
            let lines = content.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count() as u64;
            run.put("metrics/attempt-0001/part-000000.jsonl", content.into()).unwrap();
            let mut rows = Rows::open(&run).unwrap();
            let (mut step, mut found) = (None, 0);
            while let Some(row) = rows.next_row().unwrap() {
                prop_assert!(step < Some(row.step));
                (step, found) = (Some(row.step), found + 1);
            }
            prop_assert!(found + rows.damage().lines <= lines && rows.damage().named.len() <= NAMED_MAX);
        }
    }
}
