//! Verifies every byte of shards against their index: several shards at a time, with a few blocks of each in memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use common::storage::{Folder, StorageError};
use common::threads;
use common::token_shard::verify::{Fault, FaultKind, Ids, ShardCheck, faults_of_index, read_index};
use common::token_shard::{BLOCK_BYTES, INDEX_NAME, Index};
use common::tokenizer::Tokenizer;
use serde::Serialize;

use super::{DataSet, Found, ShardsError};

/// Bytes of a shard that are read at once: a whole number of blocks.
const READ_BYTES: u64 = 4 * BLOCK_BYTES;

/// Result of a verification.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Number of shards that the indexes name.
    pub shards: u64,
    /// Number of tokens, by the indexes.
    pub tokens: u64,
    /// Number of documents, by the indexes.
    pub documents: u64,
    /// Number of bytes that were read and hashed.
    pub bytes: u64,
    /// Duration of reading and hashing, in seconds.
    pub seconds: f64,
    /// All faults, in the order of the sets and their shards.
    pub faults: Vec<Fault>,
}

/// A data set whose index can be read.
struct Indexed<'f> {
    set: &'f DataSet,
    index: Index,
    ids: Ids,
}

/// A shard to verify.
struct Job<'f> {
    indexed: &'f Indexed<'f>,
    number: usize,
}

/// Faults of a shard, and the number of bytes that were read.
type Checked = Result<(Vec<Fault>, u64), StorageError>;

/// Verifies all sets of `found`. Calls `progress` with the bytes just done and the bytes in all, by the indexes.
///
/// A store that cannot be reached is an error. An object that the store does not have, or refuses, is a fault.
pub fn verify(
    found: &Found,
    tokenizer: Option<&str>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Report, ShardsError> {
    let mut report = Report::default();
    let mut indexed = Vec::new();
    for set in &found.sets {
        let (of_set, faults) = look_at_index(set, tokenizer)?;
        report.faults.extend(faults);
        indexed.extend(of_set);
    }
    let jobs: Vec<Job> = indexed
        .iter()
        .flat_map(|indexed| (0..indexed.index.shards.len()).map(move |number| Job { indexed, number }))
        .collect();
    let all_bytes = jobs.iter().map(|job| job.indexed.index.shards[job.number].bytes).fold(0, u64::saturating_add);
    for Indexed { index, .. } in &indexed {
        report.shards += index.shards.len() as u64;
        report.tokens = report.tokens.saturating_add(index.tokens);
        report.documents = report.documents.saturating_add(index.documents);
    }
    let started = Instant::now();
    let gives_up = AtomicBool::new(false);
    for checked in threads::map(&jobs, found.root.concurrency(), |job| {
        let checked = job.run(&gives_up, &|bytes| progress(bytes, all_bytes));
        gives_up.fetch_or(checked.is_err(), Ordering::Relaxed);
        checked
    }) {
        let (faults, bytes) = checked?;
        report.faults.extend(faults);
        report.bytes += bytes;
    }
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// Returns the index of `set`, unless it is missing or unreadable, and its faults.
fn look_at_index<'f>(
    set: &'f DataSet,
    tokenizer: Option<&str>,
) -> Result<(Option<Indexed<'f>>, Vec<Fault>), ShardsError> {
    let content = match &set.index {
        Some(content) => content,
        None => return Ok((None, vec![set.named(Fault::of(INDEX_NAME, FaultKind::Missing))])),
    };
    let index = match read_index(content) {
        Ok(index) => index,
        Err(reason) => return Ok((None, vec![set.named(Fault::of(INDEX_NAME, FaultKind::Index { reason }))])),
    };
    let name = tokenizer.unwrap_or(&index.tokenizer).to_owned();
    let tokenizer = set.tokenizer(&index, tokenizer, "")?;
    let mut faults = faults_of_tokenizer(&index, &name, &tokenizer);
    faults.extend(faults_of_index(&index));
    let faults = faults.into_iter().map(|fault| set.named(fault)).collect();
    // With another tokenizer every document would be a fault.
    let is_its = tokenizer.hash() == index.tokenizer_hash;
    let ids = Ids { vocabulary: index.vocabulary, end_of_text: is_its.then_some(tokenizer.end_of_text()) };
    Ok((Some(Indexed { set, index, ids }), faults))
}

fn faults_of_tokenizer(index: &Index, name: &str, tokenizer: &Tokenizer) -> Vec<Fault> {
    let size = tokenizer.size().to_string();
    let pairs = [
        ("hash", tokenizer.hash().to_owned(), index.tokenizer_hash.clone()),
        ("vocabulary", size, index.vocabulary.to_string()),
    ];
    let fault = |what, expected, got| {
        Fault::of(INDEX_NAME, FaultKind::Tokenizer { what, tokenizer: name.to_owned(), expected, got })
    };
    pairs.into_iter().filter(|(_, expected, got)| expected != got).map(|(w, e, g)| fault(w, e, g)).collect()
}

impl DataSet {
    /// Names the object of `fault` by its path from the folder that was given.
    fn named(&self, fault: Fault) -> Fault {
        let object = if self.name.is_empty() { fault.object } else { format!("{}/{}", self.name, fault.object) };
        Fault { object, ..fault }
    }
}

impl Job<'_> {
    /// Verifies the shard from its start to its end.
    fn run(&self, gives_up: &AtomicBool, progress: &dyn Fn(u64)) -> Checked {
        let Indexed { set, index, ids } = self.indexed;
        let entry = &index.shards[self.number];
        let mut check = ShardCheck::new(entry, *ids, self.number == 0);
        let fault = |kind| vec![set.named(Fault::of(&entry.name, kind))];
        let mut bytes = 0;
        match each_block(&set.folder, &entry.name, |block| {
            check.push(block);
            bytes += block.len() as u64;
            progress(block.len() as u64);
            !gives_up.load(Ordering::Relaxed)
        }) {
            Ok(()) => Ok((check.finish().into_iter().map(|fault| set.named(fault)).collect(), bytes)),
            Err(StorageError::NotFound { .. }) => Ok((fault(FaultKind::Missing), bytes)),
            Err(error @ StorageError::Unreachable { .. }) => Err(error),
            Err(error) => Ok((fault(FaultKind::Unreadable { reason: error.to_string() }), bytes)),
        }
    }
}

/// Passes the blocks of an object to `take` until that returns false.
fn each_block(folder: &Folder, name: &str, mut take: impl FnMut(&[u8]) -> bool) -> Result<(), StorageError> {
    let size = folder.size(name)?;
    for start in (0..size).step_by(READ_BYTES as usize) {
        let content = folder.get_range(name, start..(start + READ_BYTES).min(size))?;
        for block in content.chunks(BLOCK_BYTES as usize) {
            if !take(block) {
                return Ok(());
            }
        }
    }
    Ok(())
}
