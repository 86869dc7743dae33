//! Runs the first phase: encodes units of the inputs into runs in the work folder.
//!
//! On each rank a few threads read batches, more encode them, and one writes a run when memory is full. Queues between them
//! are bounded, and so is memory, for any inputs.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use common::config::OnBadDocument;

use crate::PrepareError;
use crate::encode::Encoder;
use crate::failure::Failure;
use crate::inputs::{BadDocument, Batch, Batches, ReadOptions, Source, Unit};
use crate::memory::Memory;
use crate::progress::Progress;
use crate::work::{Run, Runs, Work};

/// Largest number of threads that read: unpacking is faster than encoding, but may take 128 MiB of memory.
const READERS_MAX: usize = 2;
/// Number of skipped documents that a rank names in its log.
const WARNINGS_MAX: usize = 20;

/// Parameters of the phase, for all units.
pub struct Tokenizing<'j> {
    /// Sources of the documents.
    pub sources: &'j [Source],
    /// All units of the job.
    pub units: &'j [Unit],
    /// Options for reading documents.
    pub options: &'j ReadOptions,
    /// Encoder of the documents.
    pub encoder: Encoder<'j>,
    /// Work folder that receives the runs.
    pub work: &'j Work,
    /// Runs that were written before.
    pub runs: &'j Runs,
    /// Whether a document that cannot be read ends the job.
    pub on_bad_document: OnBadDocument,
    /// Number of threads that encode.
    pub threads: usize,
    /// Division of the rank's memory.
    pub memory: Memory,
}

/// Returns the units that rank `rank` of `ranks` does. The units that are left go, in the order of their sizes, each to the
/// rank that has least. All ranks compute this division alike.
pub fn share_of(units: &[Unit], runs: &Runs, rank: usize, ranks: usize) -> Vec<u32> {
    let bytes: Vec<u64> = units.iter().map(|unit| unit.bytes).collect();
    share_of_bytes(&bytes, |unit| runs.has(unit), rank, ranks)
}

/// Returns which units of these `bytes` rank `rank` of `ranks` does, as [`share_of`].
pub fn share_of_bytes(bytes: &[u64], is_done: impl Fn(u32) -> bool, rank: usize, ranks: usize) -> Vec<u32> {
    let mut left: Vec<u32> = (0..bytes.len() as u32).filter(|unit| !is_done(*unit)).collect();
    left.sort_by_key(|unit| std::cmp::Reverse(bytes[*unit as usize]));
    let mut loads = vec![0_u64; ranks];
    let mut share = Vec::new();
    for unit in left {
        let to = (0..ranks).min_by_key(|rank| loads[*rank]).unwrap_or(0);
        loads[to] += bytes[unit as usize] + 1;
        if to == rank {
            share.push(unit);
        }
    }
    share
}

/// Encodes the `units` of this rank.
pub fn tokenize(job: &Tokenizing<'_>, units: &[u32], progress: &Progress) -> Result<(), PrepareError> {
    let stage = Stage {
        job,
        units,
        progress,
        next: AtomicUsize::new(0),
        content: Budget::new(job.memory.content_bytes),
        warned: AtomicUsize::new(0),
        run: Mutex::default(),
        failure: Failure::default(),
    };
    let (batches_in, batches_out) = sync_channel(2 * job.threads);
    let (runs_in, runs_out) = sync_channel(0);
    let batches_out = Mutex::new(batches_out);
    let readers = job.threads.clamp(1, READERS_MAX);
    std::thread::scope(|scope| {
        for _ in 0..readers {
            let batches_in = batches_in.clone();
            scope.spawn(|| stage.read(batches_in));
        }
        for _ in 0..job.threads.max(1) {
            let runs_in = runs_in.clone();
            scope.spawn(|| stage.encode(&batches_out, runs_in));
        }
        drop((batches_in, runs_in));
        // This thread writes. The loop ends when every other thread has ended.
        for run in runs_out {
            stage.write(run);
        }
        stage.write(std::mem::take(&mut *locked(&stage.run)));
    });
    stage.failure.into_result()
}

struct Stage<'j> {
    job: &'j Tokenizing<'j>,
    units: &'j [u32],
    progress: &'j Progress,
    /// Index in `units` of the next unit that no thread reads yet.
    next: AtomicUsize,
    content: Budget,
    /// Number of documents that were left out.
    warned: AtomicUsize,
    /// Run of encoded documents that are not written yet.
    run: Mutex<Run>,
    failure: Failure,
}

impl Stage<'_> {
    /// Reads unit after unit, and passes their batches on.
    fn read(&self, batches: SyncSender<Batch>) {
        while let Some(unit) = self.units.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = self.read_unit(*unit, &batches) {
                self.failure.set(error);
            }
            if self.failure.is_set() {
                return;
            }
        }
    }

    fn read_unit(&self, number: u32, batches: &SyncSender<Batch>) -> Result<(), PrepareError> {
        let unit = &self.job.units[number as usize];
        let done_before = self.job.runs.coverage.get(&number);
        let mut reader = Batches::new(self.job.sources, self.job.options, number, unit);
        let mut bytes_read = 0;
        while let Some(batch) = reader.next_batch()? {
            let bytes = reader.bytes_read();
            self.progress.advance(bytes - bytes_read);
            bytes_read = bytes;
            if done_before.is_some_and(|coverage| coverage.has(batch.number)) {
                continue;
            }
            self.content.take(batch.content.len());
            if self.failure.is_set() || batches.send(batch).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Encodes batch after batch into the run, and passes full runs on.
    fn encode(&self, batches: &Mutex<Receiver<Batch>>, runs: SyncSender<Run>) {
        loop {
            let Ok(batch) = locked(batches).recv() else { return };
            // After a failure batches are taken and dropped, so that no reader waits for ever.
            if !self.failure.is_set() {
                self.encode_batch(&batch, &runs);
            }
            self.content.give_back(batch.content.len());
        }
    }

    fn encode_batch(&self, batch: &Batch, runs: &SyncSender<Run>) {
        let encoded = self.job.encoder.encode(batch);
        if let (OnBadDocument::Fail, Some(bad)) = (self.job.on_bad_document, encoded.tally.named.first()) {
            return self.failure.set(self.refuse(bad));
        }
        encoded.tally.named.iter().for_each(|bad| self.warn(bad));
        self.progress.encoded(encoded.tally.text_bytes);
        let mut run = locked(&self.run);
        if !run.has_room_for(&encoded, self.job.memory.run_bytes) {
            // The other threads wait meanwhile, or memory would fill with full runs.
            let _ = runs.send(std::mem::take(&mut *run));
        }
        run.push((batch.unit, batch.number, batch.is_last), encoded);
    }

    fn warn(&self, bad: &BadDocument) {
        match self.warned.fetch_add(1, Ordering::Relaxed) {
            0..WARNINGS_MAX => tracing::warn!("left out: {bad}"),
            WARNINGS_MAX => {
                tracing::warn!("more documents are left out; the data card counts them and names the first")
            }
            _ => {}
        }
    }

    fn refuse(&self, bad: &BadDocument) -> PrepareError {
        let source = &self.job.sources[bad.source as usize];
        PrepareError::BadDocument(source.with_line(bad.clone()))
    }

    fn write(&self, run: Run) {
        if self.failure.is_set() {
            return;
        }
        if let Err(error) = run.write(self.job.work) {
            self.failure.set(error);
        }
    }
}

/// A budget of memory that threads share, in bytes.
struct Budget {
    all: usize,
    taken: Mutex<usize>,
    returned: Condvar,
}

impl Budget {
    fn new(all: usize) -> Self {
        Budget { all, taken: Mutex::new(0), returned: Condvar::new() }
    }

    /// Waits until `amount` is free; more than the whole budget counts as all of it.
    fn take(&self, amount: usize) {
        let amount = amount.min(self.all);
        let taken = locked(&self.taken);
        let mut taken =
            self.returned.wait_while(taken, |taken| *taken + amount > self.all).unwrap_or_else(PoisonError::into_inner);
        *taken += amount;
    }

    fn give_back(&self, amount: usize) {
        *locked(&self.taken) -= amount.min(self.all);
        self.returned.notify_all();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns part `index` of `parts` of `0..count`, all as even as possible.
pub fn part(count: usize, index: usize, parts: usize) -> Range<usize> {
    count * index / parts..count * (index + 1) / parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_somebodys_and_shares_are_even() {
        let unit = |bytes| Unit { pieces: Vec::new(), bytes };
        let units: Vec<Unit> = [5, 100, 5, 50, 50, 0, 0, 5].map(unit).into();
        let shares: Vec<Vec<u32>> = (0..3).map(|rank| share_of(&units, &Runs::default(), rank, 3)).collect();
        let load = |share: &Vec<u32>| share.iter().map(|u| units[*u as usize].bytes).sum::<u64>();
        assert_eq!(shares.iter().map(load).max(), Some(100));
        let mut all = shares.concat();
        all.sort_unstable();
        assert_eq!(all, (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn parts_cover_everything_once() {
        for (count, parts) in [(0, 3), (2, 3), (10, 3), (9, 1)] {
            let all: Vec<usize> = (0..parts).flat_map(|i| part(count, i, parts)).collect();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_budget_lets_in_what_fits_and_one_that_is_too_large_alone() {
        let budget = Budget::new(10);
        budget.take(100);
        budget.give_back(100);
        budget.take(6);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| budget.take(5));
            // The thread cannot take its amount; this gives it a moment to try.
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert!(!waiting.is_finished());
            budget.give_back(6);
            waiting.join().unwrap();
        });
        assert_eq!(*locked(&budget.taken), 5);
    }
}
