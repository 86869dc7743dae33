//! How far the job is, over all ranks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::worker_contract::{PreparePhase, PrepareProgress};

/// What this rank has done in the current phase; its threads count, its main thread tells.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of the inputs that were read, or bytes of shards that were written.
    pub done: AtomicU64,
    /// Bytes of text that were encoded.
    pub text_bytes: AtomicU64,
}

impl Progress {
    /// Counts bytes that are done.
    pub fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes of text.
    pub fn encoded(&self, bytes: u64) {
        self.text_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The counts: done, bytes of text.
    pub fn read(&self) -> [u64; 2] {
        [&self.done, &self.text_bytes].map(|count| count.load(Ordering::Relaxed))
    }
}

/// Where progress is shown, on rank 0.
pub trait Audience {
    /// Called now and then.
    fn hear(&mut self, progress: &PrepareProgress);
}

/// Nobody.
impl Audience for () {
    fn hear(&mut self, _: &PrepareProgress) {}
}

/// How often a log gets a line.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Lines in the log.
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
        };
        let left = progress.left().map(|left| format!(", {} s left", left.as_secs())).unwrap_or_default();
        let (done, total) = (*done as f64 / 1e6, *total as f64 / 1e6);
        tracing::info!("{what} {done:.1} of {total:.1} MB, {:.1} MB/s{left}", progress.mb_per_second());
    }
}
