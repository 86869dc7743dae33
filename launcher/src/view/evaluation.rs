//! Shows an evaluation to a person while it runs, on standard error: as a bar on a terminal, as plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use common::topology::Rank;
use common::worker_contract::{EvaluationPhase, EvaluationProgress};
use indicatif::{ProgressBar, ProgressStyle};

use super::figures::{in_words, with_thousands};
use super::terminal::to_stderr;

/// Shortest time between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows the progress of an evaluation.
pub struct EvaluationView {
    is_terminal: bool,
    bar: Option<ProgressBar>,
    last_line: Instant,
    /// What each rank of this attempt said last.
    ranks: BTreeMap<Rank, EvaluationProgress>,
    /// Most tokens that were scored at the end of any attempt.
    done: u64,
}

impl EvaluationView {
    /// Creates a view with a bar if standard error is a terminal, and with lines otherwise.
    pub fn new() -> Self {
        let is_terminal = io::stderr().is_terminal();
        EvaluationView { is_terminal, bar: None, last_line: Instant::now(), ranks: BTreeMap::new(), done: 0 }
    }

    /// Forgets what the ranks of an earlier attempt have said.
    pub fn begin(&mut self) {
        self.ranks.clear();
    }

    /// Returns the most tokens that have been scored in any attempt.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Takes up how far a rank is.
    pub fn hear(&mut self, rank: Rank, progress: EvaluationProgress) {
        self.ranks.insert(rank, progress);
        let all = self.all(progress.phase);
        if progress.phase == EvaluationPhase::Scoring {
            self.done = self.done.max(all.before.saturating_add(all.done));
        }
        if self.is_terminal {
            let bar = self.bar.get_or_insert_with(|| ProgressBar::new(0).with_style(style()));
            bar.set_length(all.before.saturating_add(all.total));
            bar.set_position(all.before.saturating_add(all.done));
            bar.set_prefix(verb(all.phase));
            bar.set_message(figures(&all));
        } else if self.last_line.elapsed() >= LINE_INTERVAL && all.done < all.total {
            self.last_line = Instant::now();
            to_stderr(&format!("{} {:>3}%  {}", verb(all.phase), percent(&all), figures(&all)));
        }
    }

    /// Returns the progress of all ranks of this phase together.
    fn all(&self, phase: EvaluationPhase) -> EvaluationProgress {
        let none = EvaluationProgress { phase, ..EvaluationProgress::default() };
        // What ranks say is summed, and may be anything.
        self.ranks.values().filter(|rank| rank.phase == phase).fold(none, |sum, rank| EvaluationProgress {
            phase,
            before: sum.before.saturating_add(rank.before),
            done: sum.done.saturating_add(rank.done),
            total: sum.total.saturating_add(rank.total),
            seconds: sum.seconds.max(rank.seconds),
        })
    }

    /// Ends the bar: there is no progress for now.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.abandon();
        }
    }

    /// Shows `text` as a line of its own.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| to_stderr(text)),
            None => to_stderr(text),
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} {bar:24} {percent:>3}%  {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn percent(progress: &EvaluationProgress) -> u64 {
    let all = progress.before.saturating_add(progress.total).max(1);
    progress.before.saturating_add(progress.done).saturating_mul(100) / all
}

/// Returns what ranks do in a phase.
fn verb(phase: EvaluationPhase) -> &'static str {
    match phase {
        EvaluationPhase::Overlap => "looking for overlap",
        EvaluationPhase::Scoring => "scoring",
    }
}

/// Formats progress as `1,234 of 5,678 tokens  85 tokens/s  left 52s`.
fn figures(progress: &EvaluationProgress) -> String {
    let EvaluationProgress { phase, before, done, total, seconds } = *progress;
    let (unit, amount) = match phase {
        EvaluationPhase::Overlap => ("MB", 1_000_000),
        EvaluationPhase::Scoring => ("tokens", 1),
    };
    let rate = done as f64 / seconds.max(1e-9);
    let left = Duration::try_from_secs_f64(total.saturating_sub(done) as f64 / rate).ok();
    let left = left.map(|left| format!("  left {}", in_words(left))).unwrap_or_default();
    let [have, want] = [done, total].map(|count| with_thousands(before.saturating_add(count) / amount));
    format!("{have} of {want} {unit}  {} {unit}/s{left}", with_thousands(rate as u64 / amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(before: u64, done: u64, total: u64) -> EvaluationProgress {
        EvaluationProgress { phase: EvaluationPhase::Scoring, before, done, total, seconds: 2.0 }
    }

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long() {
        assert_eq!(figures(&progress(1000, 500, 1500)), "1,500 of 2,500 tokens  250 tokens/s  left 4s");
        assert_eq!(figures(&progress(0, 0, 7)), "0 of 7 tokens  0 tokens/s");
        let read = EvaluationProgress { phase: EvaluationPhase::Overlap, ..progress(0, 4_000_000, 10_000_000) };
        assert_eq!(figures(&read), "4 of 10 MB  2 MB/s  left 3s");
        assert_eq!(percent(&progress(1000, 500, 1500)), 60);
        assert_eq!(percent(&progress(u64::MAX, u64::MAX, u64::MAX)), 1, "nonsense is no panic");
    }

    #[test]
    fn tokens_are_summed_over_ranks_and_kept_over_attempts() {
        let mut view = EvaluationView::new();
        view.hear(Rank(0), progress(10, 5, 20));
        view.hear(Rank(1), progress(0, 7, 20));
        assert_eq!(view.done(), 22);
        view.begin();
        // What is read of training data is no score.
        view.hear(Rank(1), EvaluationProgress { phase: EvaluationPhase::Overlap, ..progress(0, 500, 900) });
        view.hear(Rank(0), progress(12, 1, 20));
        assert_eq!(view.done(), 22);
        view.hear(Rank(0), progress(12, 19, 20));
        assert_eq!(view.done(), 31);
    }
}
