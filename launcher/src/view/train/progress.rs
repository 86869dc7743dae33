//! What is known of a run's progress, and how a line tells it. Pure: times come from the caller.

use std::time::{Duration, Instant};

use common::metrics::{StepRecord, ValidationRecord};
use common::task_results::TasksRecord;
use common::untrusted::printable;
use common::worker_contract::Phase;

use super::pace::Pace;
use crate::view::figures::{in_words, with_thousands};
use crate::view::parts::{Importance, Part};

/// Shortest time within a step, a validation or tasks, of which progress is shown.
const LONG: Duration = Duration::from_secs(10);
/// Columns of the bar.
const BAR_COLUMNS: u64 = 24;

/// A step, a validation or evaluation tasks that are in progress, over all ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Underway {
    /// Number of completed steps.
    pub step: u64,
    /// Phase that the ranks are in: training, evaluating or scoring.
    pub phase: Phase,
    /// Number of micro batches, or of passes of tasks, that are done, over all ranks.
    pub done: u64,
    /// Number of them in all.
    pub all: u64,
}

/// Progress of a run's attempts.
#[derive(Debug)]
pub struct Progress {
    steps_max: u64,
    pace: Pace,
    /// Last step of this attempt, and the time that was left after it.
    last: Option<(StepRecord, Duration)>,
    validation: Option<ValidationRecord>,
    tasks: Option<TasksRecord>,
    /// When the step, the validation or the tasks in progress began, as far as ranks have told.
    since: Option<Instant>,
    /// Words about it, if it is a long one.
    long: Option<String>,
    /// Time within it after which a line is due.
    line_due: Duration,
}

impl Progress {
    /// Creates the progress of a run of `steps_max` steps.
    pub fn new(steps_max: u64) -> Self {
        let (pace, last, validation, tasks) = (Pace::default(), None, None, None);
        Progress { steps_max, pace, last, validation, tasks, since: None, long: None, line_due: LONG }
    }

    /// Begins another attempt.
    pub fn begin(&mut self) {
        let (validation, tasks) = (self.validation.take(), self.tasks.take());
        *self = Progress { validation, tasks, ..Progress::new(self.steps_max) };
    }

    /// Adds a completed step, which arrived at `now`. Returns a sentence about the rest of the run, once it can be foretold.
    pub fn step(&mut self, record: &StepRecord, now: Instant) -> Option<String> {
        let left = self.pace.left(record, self.steps_max, now);
        self.last = Some((record.clone(), left));
        self.ended(now);
        self.pace.expectation(record, self.steps_max)
    }

    /// Adds a validation loss, which arrived at `now`.
    pub fn validation(&mut self, record: &ValidationRecord, now: Instant) {
        self.validation = Some(record.clone());
        self.ended(now);
    }

    /// Adds the results of evaluation tasks, which arrived at `now`.
    pub fn tasks(&mut self, record: &TasksRecord, now: Instant) {
        self.tasks = Some(record.clone());
        self.ended(now);
    }

    fn ended(&mut self, now: Instant) {
        (self.since, self.long, self.line_due) = (Some(now), None, LONG);
    }

    /// Notes how far the step in progress is at `now`. Returns words about it where a line is due: after 10 s, 20 s, 40 s and
    /// so on.
    pub fn underway(&mut self, underway: &Underway, now: Instant) -> Option<&str> {
        let elapsed = now.duration_since(*self.since.get_or_insert(now));
        if elapsed < LONG {
            return None;
        }
        let Underway { step, phase, done, all } = underway;
        let (what, parts) = match phase {
            Phase::Evaluating => ("validation".to_owned(), "micro batches"),
            Phase::Scoring => ("tasks".to_owned(), "passes"),
            _ => (format!("step {}", step.saturating_add(1)), "micro batches"),
        };
        let [done, all] = [done, all].map(|count| with_thousands(*count));
        self.long = Some(format!("{what}: {done} of {all} {parts} after {}", in_words(elapsed)));
        if elapsed < self.line_due {
            return None;
        }
        self.line_due = 2 * elapsed.max(LONG);
        self.long.as_deref()
    }

    /// Returns the number of the last step of this attempt.
    pub fn last_step(&self) -> Option<u64> {
        self.last.as_ref().map(|(record, _)| record.step)
    }

    /// Returns the last step of this attempt as parts of a line: `step    120/800  loss 6.1234  ...`.
    pub fn line(&self) -> Vec<Part> {
        let Some((record, left)) = &self.last else { return Vec::new() };
        let position = Part::new(Importance::Position, format!("step {:>6}/{}", record.step, self.steps_max));
        [vec![position], figures(record), vec![part_left(*left)]].concat()
    }

    /// Returns what is known now as parts of a line below all others, which changes with it.
    pub fn bar(&self) -> Vec<Part> {
        let (step, steps) = (self.last_step().unwrap_or(0), self.steps_max.to_string());
        let mut parts = vec![
            Part::new(Importance::Picture, bar(step, self.steps_max)),
            Part::new(Importance::Position, format!("{step}/{steps}")).within(2 * steps.len() + 1),
        ];
        match (&self.long, &self.last) {
            (Some(long), last) => {
                parts.push(Part::new(Importance::Subject, long.clone()));
                let loss = last.as_ref().map(|(record, _)| loss(record));
                parts.extend(loss.map(|loss| Part::new(Importance::Result, loss)));
            }
            (None, last) => parts.extend(last.iter().flat_map(|(record, _)| figures(record))),
        }
        let validation = self.validation.as_ref().map(|record| format!("validation {:.4}", record.validation_loss));
        parts.extend(validation.map(|text| Part::new(Importance::Result, text)));
        let tasks = self.tasks.iter().flat_map(|record| &record.tasks);
        let results = tasks.map(|(task, result)| format!("{} {}", printable(task), result.figure()));
        parts.extend(results.map(|text| Part::new(Importance::Detail, text)));
        parts.extend(self.last.as_ref().map(|(_, left)| part_left(*left)));
        parts
    }
}

/// Draws how many of `all` steps are done.
fn bar(done: u64, all: u64) -> String {
    let full = (u128::from(done) * u128::from(BAR_COLUMNS) / u128::from(all.max(1))).min(BAR_COLUMNS.into()) as usize;
    "█".repeat(full) + &"░".repeat(BAR_COLUMNS as usize - full)
}

fn loss(record: &StepRecord) -> String {
    format!("loss {:.4}", record.loss)
}

fn part_left(left: Duration) -> Part {
    Part::new(Importance::Left, format!("left {}", in_words(left))).within("left 24m46s".len())
}

/// Formats a record as `loss 6.1234`, `lr 3.9e-3`, `grad norm 0.83`, `4,210 tokens/s`, `MFU 41.2%`.
fn figures(record: &StepRecord) -> Vec<Part> {
    let tokens_per_second = with_thousands(record.tokens_per_second.round() as u64);
    let mfu = record.mfu.map(|mfu| Part::new(Importance::Speed, format!("MFU {:.1}%", mfu * 100.0)));
    let parts = [
        Part::new(Importance::Subject, loss(record)).within("loss 10.7643".len()),
        Part::new(Importance::Detail, format!("lr {:.1e}", record.learning_rate)),
        Part::new(Importance::Detail, format!("grad norm {:.2}", record.grad_norm)),
        Part::new(Importance::Speed, format!("{tokens_per_second} tokens/s")).within("123,456 tokens/s".len()),
    ];
    parts.into_iter().chain(mfu).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use common::task_results::TaskResult;

    use super::*;
    use crate::view::parts::fitted;
    use crate::view::train::tests::record;

    fn validation(step: u64) -> ValidationRecord {
        ValidationRecord { step, validation_loss: 5.77231, validation_sequences: 8 }
    }

    #[test]
    fn a_line_says_what_matters() {
        let mut progress = Progress::new(166);
        progress.step(&record(120), Instant::now());
        let expected = "step    120/166  loss 6.1234  lr 3.9e-3  grad norm 0.83  4,210 tokens/s  left 1m32s";
        assert_eq!(fitted(progress.line(), usize::MAX), expected);
        progress.step(&StepRecord { mfu: Some(0.4123), ..record(120) }, Instant::now());
        assert!(fitted(progress.line(), usize::MAX).contains("4,210 tokens/s  MFU 41.2%  left"));
    }

    #[test]
    fn the_bar_fits_its_terminal() {
        let (mut progress, now) = (Progress::new(166), Instant::now());
        assert_eq!(fitted(progress.bar(), 80), "░░░░░░░░░░░░░░░░░░░░░░░░  0/166");
        progress.step(&record(83), now);
        progress.validation(&validation(80), now);
        for (width, expected) in [
            (
                124,
                "████████████░░░░░░░░░░░░  83/166  loss 6.1234  lr 3.9e-3  grad norm 0.83  4,210 tokens/s  validation 5.7723  \
                 left 2m46s",
            ),
            (100, "████████████░░░░░░░░░░░░  83/166  loss 6.1234  4,210 tokens/s  validation 5.7723  left 2m46s"),
            (80, "83/166  loss 6.1234  4,210 tokens/s  validation 5.7723  left 2m46s"),
            (60, "83/166  loss 6.1234  validation 5.7723  left 2m46s"),
            (40, "83/166  loss 6.1234  left 2m46s"),
            (21, "83/166  loss 6.1234"),
        ] {
            assert_eq!(fitted(progress.bar(), width), expected, "{width}");
        }
    }

    #[test]
    fn a_long_step_shows_how_many_of_its_micro_batches_are_done() {
        let (mut progress, start) = (Progress::new(166), Instant::now());
        let at = |progress: &mut Progress, seconds, done| {
            let underway = Underway { step: 83, phase: Phase::Training, done, all: 1024 };
            progress.underway(&underway, start + Duration::from_secs(seconds)).map(str::to_owned)
        };
        progress.step(&record(83), start);
        assert_eq!(at(&mut progress, 9, 90), None);
        assert!(fitted(progress.bar(), 120).contains("loss 6.1234  lr"));
        let words = "step 84: 100 of 1,024 micro batches after 10s";
        assert_eq!(at(&mut progress, 10, 100).as_deref(), Some(words));
        assert_eq!(fitted(progress.bar(), 80), format!("83/166  {words}  loss 6.1234  left 2m46s"));
        // Where there is no terminal, lines come ever more seldom; the bar is always up to date.
        let due: Vec<u64> = (11..200).filter(|second| at(&mut progress, *second, second * 10).is_some()).collect();
        assert_eq!(due, [20, 40, 80, 160]);
        assert!(fitted(progress.bar(), 80).contains("1,990 of 1,024 micro batches after 3m19s"));
        progress.step(&record(84), start + Duration::from_secs(200));
        assert!(fitted(progress.bar(), 120).contains("84/166  loss 6.1234  lr 3.9e-3"));
        assert_eq!(at(&mut progress, 209, 1), None);
        assert!(at(&mut progress, 210, 1).is_some());
    }

    #[test]
    fn a_long_first_step_and_a_long_validation_are_shown_too() {
        let (mut progress, start) = (Progress::new(8), Instant::now());
        let long = start + Duration::from_secs(75);
        let underway = |phase| Underway { step: 0, phase, done: 3, all: 16 };
        assert_eq!(progress.underway(&underway(Phase::Training), start), None);
        let expected = "step 1: 3 of 16 micro batches after 1m15s";
        assert_eq!(progress.underway(&underway(Phase::Training), long), Some(expected));
        assert_eq!(fitted(progress.bar(), 60), format!("0/8  {expected}"));
        progress.step(&record(1), long);
        let longer = long + Duration::from_secs(12);
        let expected = "validation: 3 of 16 micro batches after 12s";
        assert_eq!(progress.underway(&underway(Phase::Evaluating), longer), Some(expected));
        progress.validation(&validation(1), longer);
        assert!(!fitted(progress.bar(), 200).contains("micro batches"));
    }

    #[test]
    fn results_of_tasks_are_in_a_wide_bar_and_go_first() {
        let (mut progress, now) = (Progress::new(166), Instant::now());
        let result = |metric: &str, value| TaskResult { metric: metric.into(), value, standard_error: None, items: 9 };
        let tasks = BTreeMap::from([
            ("hellaswag_harness".to_owned(), result("acc_norm", 0.271)),
            ("text=\u{1b}x".to_owned(), result("word_perplexity", 35.76)),
        ]);
        progress.step(&record(83), now);
        let long = now + Duration::from_secs(12);
        let underway = Underway { step: 83, phase: Phase::Scoring, done: 3, all: 16 };
        assert_eq!(progress.underway(&underway, long), Some("tasks: 3 of 16 passes after 12s"));
        progress.tasks(&TasksRecord { step: 83, tasks, tasks_seconds: 1.0 }, long);
        let wide = fitted(progress.bar(), 200);
        assert!(wide.contains("hellaswag_harness 27.1 %  text=\\u{1b}x 35.76  left"), "{wide}");
        let narrow = fitted(progress.bar(), 80);
        assert!(!narrow.contains("hellaswag") && narrow.contains("4,210 tokens/s"), "{narrow}");
    }

    #[test]
    fn another_attempt_begins_with_the_last_validation_loss_alone() {
        let (mut progress, now) = (Progress::new(8), Instant::now());
        progress.step(&record(4), now);
        progress.validation(&validation(4), now);
        progress.begin();
        assert_eq!(fitted(progress.bar(), 80), "░░░░░░░░░░░░░░░░░░░░░░░░  0/8  validation 5.7723");
        assert_eq!(progress.line(), []);
    }
}
