//! Measures how far the job is, over all ranks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::worker_contract::{PreparePhase, PrepareProgress};

/// What there is to do in a phase, over all ranks.
#[derive(Debug, Clone, Copy)]
pub struct PhaseWork {
    /// The phase.
    pub phase: PreparePhase,
    /// Bytes to read or write.
    pub total: u64,
    /// Bytes of them that an earlier job has done.
    pub done_before: u64,
}

/// Work that this rank has done in the current phase. Threads count it, and the main thread reports it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of the inputs that were read, or of shards that were written.
    pub done: AtomicU64,
    /// Bytes of text that were encoded.
    pub text_bytes: AtomicU64,
}

impl Progress {
    /// Adds `bytes` that are done.
    pub fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Adds `bytes` of text that were encoded.
    pub fn encoded(&self, bytes: u64) {
        self.text_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the bytes that are done, and the bytes of text.
    pub fn read(&self) -> [u64; 2] {
        [&self.done, &self.text_bytes].map(|count| count.load(Ordering::Relaxed))
    }
}

/// Receiver of progress on rank 0.
pub trait Audience {
    /// Receives the current progress, from time to time.
    fn hear(&mut self, progress: &PrepareProgress);
}

/// Ignores progress.
impl Audience for () {
    fn hear(&mut self, _: &PrepareProgress) {}
}

/// Time between two lines in a log.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Writes progress as lines in the log.
pub struct LogLines {
    next: Instant,
}

impl Default for LogLines {
    fn default() -> Self {
        LogLines { next: Instant::now() + LINE_INTERVAL }
    }
}

impl Audience for LogLines {
    fn hear(&mut self, progress: &PrepareProgress) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + LINE_INTERVAL;
        let PrepareProgress { phase, done, total, .. } = progress;
        let what = match phase {
            PreparePhase::Tokenizing => "tokenized",
            PreparePhase::Writing => "written",
            PreparePhase::Extracting => "extracted",
            PreparePhase::Cleaning => "cleaned",
            PreparePhase::Signing => "signed",
            PreparePhase::Pairing => "paired",
            PreparePhase::Clustering => "clustered",
            PreparePhase::Deduplicating => "kept or dropped",
            PreparePhase::Overlapping => "searched",
        };
        let left = progress.left().map(|left| format!(", {} s left", left.as_secs())).unwrap_or_default();
        let (done, total) = (*done as f64 / 1e6, *total as f64 / 1e6);
        tracing::info!("{what} {done:.1} of {total:.1} MB, {:.1} MB/s{left}", progress.mb_per_second());
    }
}
