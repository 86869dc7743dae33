//! Shows a run to a person while it trains, on standard error: as a bar on a terminal, as plain lines elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use common::metrics::{StepRecord, ValidationRecord};
use common::topology::Rank;
use common::untrusted::{printable, printable_lines};
use indicatif::{ProgressBar, ProgressStyle};

use super::figures::{in_words, with_thousands};
use super::terminal::to_stderr;

/// Number of first steps of an attempt that have a line each where there is no terminal.
const FIRST_LINES: u32 = 5;
/// Shortest time between two later lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows the progress of a run's attempts.
pub struct View {
    steps_max: u64,
    pace: Pace,
    validation: Option<ValidationRecord>,
    is_terminal: bool,
    /// Whether to use colours: on a terminal whose user has not set `NO_COLOR`.
    has_colours: bool,
    /// Bar of an attempt; `None` between attempts and without a terminal.
    bar: Option<ProgressBar>,
    lines: Lines,
}

impl View {
    /// Creates the view of a run of `steps_max` steps, with a bar if standard error is a terminal.
    pub fn new(steps_max: u64) -> Self {
        let (is_terminal, lines) = (io::stderr().is_terminal(), Lines::default());
        let has_colours = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        View { steps_max, pace: Pace::default(), validation: None, is_terminal, has_colours, bar: None, lines }
    }

    /// Begins an attempt; `headline` describes it.
    pub fn begin(&mut self, headline: &str) {
        self.pace = Pace::default();
        self.lines = Lines::default();
        self.say(headline);
        self.bar = self.is_terminal.then(|| ProgressBar::new(self.steps_max).with_style(style()));
    }

    /// Ends the attempt.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.abandon();
        }
    }

    /// Shows a completed step.
    pub fn step(&mut self, record: &StepRecord) {
        let now = Instant::now();
        let left = self.pace.left(record, self.steps_max, now);
        match &self.bar {
            Some(bar) => {
                let validation = self.validation.as_ref().map(|v| format!("  validation {:.4}", v.validation_loss));
                bar.set_message(format!("{}{}", figures(record, left), validation.unwrap_or_default()));
                bar.set_position(record.step);
            }
            None if self.lines.is_due(now) || record.step == self.steps_max => {
                to_stderr(&format!("step {:>6}/{}  {}", record.step, self.steps_max, figures(record, left)));
            }
            None => {}
        }
    }

    /// Shows a validation loss.
    pub fn validation(&mut self, record: &ValidationRecord) {
        self.say(&format!("step {}: validation loss {:.4}", record.step, record.validation_loss));
        self.validation = Some(record.clone());
    }

    /// Shows a line that a rank printed.
    pub fn say_of(&self, rank: Rank, line: &str) {
        self.show(&format!("{} {}", name_of(rank, self.has_colours), printable(line)));
    }

    /// Shows `text` as lines of its own.
    pub fn say(&self, text: &str) {
        self.show(&printable_lines(text));
    }

    /// Writes text that a terminal may be given unchanged.
    fn show(&self, printable: &str) {
        let write = || drop(writeln!(io::stderr().lock(), "{printable}"));
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

/// Returns the name of a rank, coloured on a terminal so that neighbouring ranks are distinguishable.
fn name_of(rank: Rank, has_colours: bool) -> String {
    if !has_colours {
        return format!("rank {rank}:");
    }
    // Cyan, yellow, magenta, green, blue: not the red of errors, and no colour that is invisible on black or white.
    let colour = [36, 33, 35, 32, 34][rank.index() % 5];
    format!("\x1b[{colour}mrank {rank}:\x1b[0m")
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:24} {pos}/{len}  {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Formats a record as `loss 6.1234  lr 3.9e-3  grad norm 0.83  4,210 tokens/s  MFU 41.2%  left 1m32s`.
fn figures(record: &StepRecord, left: Duration) -> String {
    let mfu = record.mfu.map(|mfu| format!("  MFU {:.1}%", mfu * 100.0)).unwrap_or_default();
    format!(
        "loss {:.4}  lr {:.1e}  grad norm {:.2}  {} tokens/s{mfu}  left {}",
        record.loss,
        record.learning_rate,
        record.grad_norm,
        with_thousands(record.tokens_per_second.round() as u64),
        in_words(left),
    )
}

/// Speed of this attempt, with its validations and checkpoints.
#[derive(Debug, Default)]
struct Pace {
    first: Option<(Instant, u64)>,
}

impl Pace {
    /// Returns the time left after `record`, which arrived at `now`.
    fn left(&mut self, record: &StepRecord, steps_max: u64, now: Instant) -> Duration {
        let (since, first_step) = *self.first.get_or_insert((now, record.step));
        let steps_done = record.step.saturating_sub(first_step);
        let step_s = match steps_done {
            0 => record.step_ms / 1000.0,
            steps => now.duration_since(since).as_secs_f64() / steps as f64,
        };
        let left_s = step_s * steps_max.saturating_sub(record.step) as f64;
        Duration::try_from_secs_f64(left_s).unwrap_or_default()
    }
}

/// Decides which steps get a line where there is no terminal.
#[derive(Debug, Default)]
struct Lines {
    shown: u32,
    last: Option<Instant>,
}

impl Lines {
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.shown < FIRST_LINES || self.last.is_none_or(|last| now.duration_since(last) >= LINE_INTERVAL);
        if is_due {
            self.shown += 1;
            self.last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_have_colours_only_where_they_are_wanted() {
        assert_eq!(name_of(Rank(7), false), "rank 7:");
        assert_eq!(name_of(Rank(7), true), "\x1b[35mrank 7:\x1b[0m");
        assert_ne!(name_of(Rank(0), true)[..5], name_of(Rank(1), true)[..5]);
    }

    fn record(step: u64) -> StepRecord {
        StepRecord {
            step,
            tokens: step * 512,
            loss: 6.12344,
            learning_rate: 3.9e-3,
            grad_norm: 0.834,
            step_ms: 2000.0,
            tokens_per_second: 4209.6,
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
    fn a_line_says_what_matters() {
        let left = Duration::from_secs(92);
        let mut record = record(120);
        assert_eq!(figures(&record, left), "loss 6.1234  lr 3.9e-3  grad norm 0.83  4,210 tokens/s  left 1m32s");
        record.mfu = Some(0.4123);
        assert!(figures(&record, left).contains("4,210 tokens/s  MFU 41.2%  left"));
    }

    #[test]
    fn time_left_comes_from_the_step_at_first_and_from_the_clock_then() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.left(&record(10), 20, start), Duration::from_secs(20));
        let later = start + Duration::from_secs(15);
        assert_eq!(pace.left(&record(15), 20, later), Duration::from_secs(15));
        assert_eq!(pace.left(&record(20), 20, later), Duration::ZERO);
    }

    #[test]
    fn the_first_steps_have_a_line_each_and_then_one_in_five_seconds() {
        let start = Instant::now();
        let mut lines = Lines::default();
        let due: Vec<u64> = (0..200).filter(|tenth| lines.is_due(start + Duration::from_millis(tenth * 100))).collect();
        assert_eq!(due, [0, 1, 2, 3, 4, 54, 104, 154]);
    }
}
