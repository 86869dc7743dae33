//! Shows a prepare job to a person while it runs, on standard error: as a bar on a terminal, as plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use common::worker_contract::{PreparePhase, PrepareProgress};
use indicatif::{ProgressBar, ProgressStyle};

use super::figures::in_words;
use super::terminal::to_stderr;

/// Shortest time between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows the progress of a prepare job.
pub struct PrepareView {
    is_terminal: bool,
    bar: Option<(PreparePhase, ProgressBar)>,
    last_line: Instant,
    /// Most bytes that were done in each phase.
    done: BTreeMap<PreparePhase, u64>,
}

impl PrepareView {
    /// Creates a view with a bar if standard error is a terminal, and with lines otherwise.
    pub fn new() -> Self {
        PrepareView {
            is_terminal: io::stderr().is_terminal(),
            bar: None,
            last_line: Instant::now(),
            done: BTreeMap::new(),
        }
    }

    /// Returns the bytes done over all attempts: read and written.
    pub fn bytes_done(&self) -> u64 {
        self.done.values().sum()
    }

    /// Shows how far the job is.
    pub fn hear(&mut self, progress: &PrepareProgress) {
        let most = self.done.entry(progress.phase).or_default();
        *most = (*most).max(progress.done);
        if self.is_terminal {
            return self.move_bar(progress);
        }
        let is_due = self.last_line.elapsed() >= LINE_INTERVAL;
        if is_due && progress.done < progress.total {
            self.last_line = Instant::now();
            let percent = 100 * progress.done / progress.total.max(1);
            to_stderr(&format!("{} {percent:>3}%  {}", verb(progress.phase), figures(progress)));
        }
    }

    fn move_bar(&mut self, progress: &PrepareProgress) {
        if self.bar.as_ref().is_some_and(|(phase, _)| *phase != progress.phase) {
            self.end();
        }
        let (_, bar) = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(progress.total).with_style(style()).with_prefix(verb(progress.phase));
            (progress.phase, bar)
        });
        // What an earlier job has made of a stage is verified in the stage's phase, with another total.
        bar.set_length(progress.total);
        bar.set_message(figures(progress));
        bar.set_position(progress.done);
    }

    /// Ends the bar: there is no progress for now.
    pub fn end(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.abandon();
        }
    }

    /// Shows `text` as a line of its own.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some((_, bar)) => bar.suspend(|| to_stderr(text)),
            None => to_stderr(text),
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} {bar:24} {percent:>3}%  {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn verb(phase: PreparePhase) -> &'static str {
    match phase {
        PreparePhase::Tokenizing => "tokenizing",
        PreparePhase::Writing => "writing   ",
        PreparePhase::Extracting => "extracting",
        PreparePhase::Cleaning => "cleaning  ",
        PreparePhase::Signing => "signing   ",
        PreparePhase::Pairing => "pairing   ",
        PreparePhase::Clustering => "clustering",
        PreparePhase::Deduplicating => "dropping  ",
        PreparePhase::Overlapping => "searching ",
    }
}

/// Formats progress as `1,234 of 5,678 MB  85.2 MB/s  left 52s`.
fn figures(progress: &PrepareProgress) -> String {
    let left = progress.left().map(|left| format!("  left {}", in_words(left))).unwrap_or_default();
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    format!(
        "{:.1} of {:.1} MB  {:.1} MB/s{left}",
        megabytes(progress.done),
        megabytes(progress.total),
        progress.mb_per_second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_and_how_long() {
        let mut progress = PrepareProgress {
            phase: PreparePhase::Tokenizing,
            done: 100_000_000,
            done_before: 0,
            total: 400_000_000,
            text_bytes: 90_000_000,
            seconds: 2.0,
        };
        assert_eq!(figures(&progress), "100.0 of 400.0 MB  50.0 MB/s  left 6s");
        // What an earlier job did is done, and tells nothing about the speed of this one.
        progress.done_before = 60_000_000;
        assert_eq!(figures(&progress), "100.0 of 400.0 MB  20.0 MB/s  left 15s");
        progress.done = 60_000_000;
        assert_eq!(figures(&progress), "60.0 of 400.0 MB  0.0 MB/s");
    }

    #[test]
    fn progress_counts_over_attempts_and_phases() {
        let mut view = PrepareView::new();
        let hear = |phase, done| PrepareProgress { phase, done, done_before: 0, total: 9, text_bytes: 0, seconds: 1.0 };
        view.hear(&hear(PreparePhase::Tokenizing, 5));
        view.hear(&hear(PreparePhase::Tokenizing, 3));
        assert_eq!(view.bytes_done(), 5);
        view.hear(&hear(PreparePhase::Writing, 2));
        assert_eq!(view.bytes_done(), 7);
    }

    #[test]
    fn the_bar_goes_back_when_a_phase_goes_on_with_more_to_do() {
        let mut view = PrepareView { is_terminal: true, ..PrepareView::new() };
        let mut shown = |done, total| {
            let phase = PreparePhase::Cleaning;
            view.hear(&PrepareProgress { phase, done, done_before: 0, total, text_bytes: 0, seconds: 1.0 });
            let (_, bar) = view.bar.as_ref().unwrap();
            (bar.position(), bar.length())
        };
        assert_eq!(shown(40, 40), (40, Some(40)));
        assert_eq!(shown(45, 100), (45, Some(100)));
    }
}
