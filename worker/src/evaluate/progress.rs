//! Tells the launcher how far a rank is, by lines on standard output.

use std::time::{Duration, Instant};

use common::worker_contract::{EvaluationPhase, EvaluationProgress, PROGRESS_MARK};

/// Shortest time between two lines.
const INTERVAL: Duration = Duration::from_millis(500);

/// The progress of this rank.
pub struct Progress {
    is_told: bool,
    phase: EvaluationPhase,
    began: Instant,
    last: Instant,
    before: u64,
    done: u64,
    total: u64,
}

impl Progress {
    /// Begins with `before` tokens that earlier jobs have scored and `total` that this rank is to score. Lines are printed if
    /// `is_told`.
    pub fn begin(is_told: bool, before: u64, total: u64) -> Self {
        Self::of(EvaluationPhase::Scoring, is_told, before, total)
    }

    /// Begins with `total` bytes of training data, or of their filter, that this rank is to read or write.
    pub fn begin_overlap(is_told: bool, total: u64) -> Self {
        Self::of(EvaluationPhase::Overlap, is_told, 0, total)
    }

    fn of(phase: EvaluationPhase, is_told: bool, before: u64, total: u64) -> Self {
        let now = Instant::now();
        let progress = Progress { is_told, phase, began: now, last: now, before, done: 0, total };
        progress.tell();
        progress
    }

    /// Counts `amount`, tokens or bytes, as done.
    pub fn add(&mut self, amount: u64) {
        self.done += amount;
        if self.done == self.total { self.tell_now() } else { self.beat() }
    }

    /// Tells how far this rank is unless it has just been told: it works, also where nothing counts as done yet.
    pub fn beat(&mut self) {
        if self.last.elapsed() >= INTERVAL {
            self.tell_now();
        }
    }

    fn tell_now(&mut self) {
        self.last = Instant::now();
        self.tell();
    }

    fn tell(&self) {
        if !self.is_told {
            return;
        }
        let Progress { phase, before, done, total, .. } = *self;
        let message = EvaluationProgress { phase, before, done, total, seconds: self.began.elapsed().as_secs_f64() };
        let json = serde_json::to_string(&message).unwrap_or_else(|e| unreachable!("progress is JSON: {e}"));
        #[allow(clippy::print_stdout, reason = "the launcher reads it")]
        {
            println!("{PROGRESS_MARK}{json}");
        }
    }
}
