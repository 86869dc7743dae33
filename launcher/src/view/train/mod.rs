//! Shows a run to a person while it trains, on standard error: as lines above a bar on a terminal, as lines elsewhere.
//!
//! - this file: what is written, and where.
//! - `progress`: what is known of the run, and how a line tells it. `pace`: how long it takes. `lines`: which steps get a line.

mod lines;
mod pace;
mod progress;

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use common::metrics::{StepRecord, ValidationRecord};
use common::preflight::Verdict;
use common::task_results::TasksRecord;
use common::topology::Rank;
use common::untrusted::{printable, printable_lines};
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};

use super::parts::fitted;
use lines::Lines;
use progress::Progress;
pub use progress::Underway;

/// Shows the progress of a run's attempts.
pub struct View {
    steps_max: u64,
    progress: Progress,
    lines: Lines,
    /// Last step that has a line.
    line_of: Option<u64>,
    /// Number of attempts that have begun.
    attempts: u32,
    /// Warnings that have been shown.
    warned: BTreeSet<String>,
    is_terminal: bool,
    /// Whether to use colours: on a terminal whose user has not set `NO_COLOR`.
    has_colours: bool,
    /// Bar of an attempt that has told something; `None` between attempts and without a terminal.
    bar: Option<ProgressBar>,
}

impl View {
    /// Creates the view of a run of `steps_max` steps, with a bar if standard error is a terminal.
    pub fn new(steps_max: u64) -> Self {
        let is_terminal = io::stderr().is_terminal();
        View {
            steps_max,
            progress: Progress::new(steps_max),
            lines: Lines::new(is_terminal),
            line_of: None,
            attempts: 0,
            warned: BTreeSet::new(),
            is_terminal,
            has_colours: is_terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()),
            bar: None,
        }
    }

    /// Begins an attempt; `headline` describes it.
    pub fn begin(&mut self, headline: &str) {
        self.attempts += 1;
        self.progress.begin();
        self.lines = Lines::new(self.is_terminal);
        self.line_of = None;
        self.say(headline);
    }

    /// Ends the attempt. Its last step stays as a line.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            self.show_step();
        }
    }

    /// Shows a finding about the run before its first step. Of later attempts only new warnings are shown.
    pub fn finding(&mut self, verdict: Verdict, line: &str) {
        if verdict == Verdict::Ok {
            if self.attempts <= 1 {
                self.say(&format!("  {line}"));
            }
        } else if self.warned.insert(line.to_owned()) {
            self.warn(line);
        }
    }

    /// Shows a problem, however often it comes.
    pub fn warn(&self, line: &str) {
        let warning = if self.has_colours { "\x1b[33mwarning:\x1b[0m" } else { "warning:" };
        self.show(&format!("{warning} {}", printable_lines(line)));
    }

    /// Shows a completed step.
    pub fn step(&mut self, record: &StepRecord) {
        let now = Instant::now();
        let expected = self.progress.step(record, now);
        if self.lines.is_due(now) || record.step == self.steps_max {
            self.show_step();
        }
        if let Some(expected) = expected {
            self.say(&expected);
        }
        self.draw();
    }

    /// Shows a validation loss.
    pub fn validation(&mut self, record: &ValidationRecord) {
        self.say(&format!("step {}: validation loss {:.4}", record.step, record.validation_loss));
        self.progress.validation(record, Instant::now());
        if self.bar.is_some() {
            self.draw();
        }
    }

    /// Shows the results of evaluation tasks.
    pub fn tasks(&mut self, record: &TasksRecord) {
        self.say(&format!("step {}: {record}", record.step));
        self.progress.tasks(record, Instant::now());
        if self.bar.is_some() {
            self.draw();
        }
    }

    /// Shows how far the step in progress is, if it takes long.
    pub fn underway(&mut self, underway: &Underway) {
        match self.progress.underway(underway, Instant::now()).map(str::to_owned) {
            Some(text) if !self.is_terminal => self.say(&text),
            _ => self.draw(),
        }
    }

    /// Shows a line that a rank printed.
    pub fn say_of(&self, rank: Rank, line: &str) {
        self.show(&format!("{} {}", name_of(rank, self.has_colours), printable(line)));
    }

    /// Shows `text` as lines of its own.
    pub fn say(&self, text: &str) {
        self.show(&printable_lines(text));
    }

    /// Shows the last step as a line, unless it has one.
    fn show_step(&mut self) {
        let step = self.progress.last_step();
        if step.is_some() && self.line_of != step {
            self.line_of = step;
            self.show(&fitted(self.progress.line(), self.width()));
        }
    }

    /// Draws the bar anew, where there is a terminal.
    fn draw(&mut self) {
        if self.is_terminal {
            let text = fitted(self.progress.bar(), self.width());
            self.bar.get_or_insert_with(|| ProgressBar::new(self.steps_max).with_style(style())).set_message(text);
        }
    }

    /// Returns the number of columns that a line may take.
    fn width(&self) -> usize {
        if self.is_terminal { Term::stderr().size().1.into() } else { usize::MAX }
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

/// The line is fitted into the terminal already. A terminal that has become narrower since cuts it off.
fn style() -> ProgressStyle {
    ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    #[test]
    fn ranks_have_colours_only_where_they_are_wanted() {
        assert_eq!(name_of(Rank(7), false), "rank 7:");
        assert_eq!(name_of(Rank(7), true), "\x1b[35mrank 7:\x1b[0m");
        assert_ne!(name_of(Rank(0), true)[..5], name_of(Rank(1), true)[..5]);
    }

    /// Returns the record of a step of two seconds.
    pub fn record(step: u64) -> StepRecord {
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
}
