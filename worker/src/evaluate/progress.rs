//! Tells the launcher how far a rank is, by lines on standard output.

use std::time::{Duration, Instant};

use common::worker_contract::{EvaluationProgress, PROGRESS_MARK};

/// Shortest time between two lines.
const INTERVAL: Duration = Duration::from_millis(500);

/// The progress of this rank.
pub struct Progress {
    is_told: bool,
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
        let now = Instant::now();
        let progress = Progress { is_told, began: now, last: now, before, done: 0, total };
        progress.tell();
        progress
    }

    /// Counts `tokens` as scored.
    pub fn add(&mut self, tokens: u64) {
        self.done += tokens;
        if self.done == self.total || self.last.elapsed() >= INTERVAL {
            self.last = Instant::now();
            self.tell();
        }
    }

    fn tell(&self) {
        if !self.is_told {
            return;
        }
        let Progress { before, done, total, .. } = *self;
        let message = EvaluationProgress { before, done, total, seconds: self.began.elapsed().as_secs_f64() };
        let json = serde_json::to_string(&message).unwrap_or_else(|e| unreachable!("progress is JSON: {e}"));
        #[allow(clippy::print_stdout, reason = "the launcher reads it")]
        {
            println!("{PROGRESS_MARK}{json}");
        }
    }
}
