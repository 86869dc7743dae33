//! Objects are read in ranges, several at once, and every range is verified before anyone sees it.
//!
//! The manifest has a SHA-256 for each block of each object, so ranges verify in any order and on any thread. One
//! listing finds what is missing or has the wrong size before anything is read; no memory is set aside on the word of
//! a manifest alone.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use bytes::Bytes;
use common::checkpoint_layout::ObjectEntry;
use common::storage::{Folder, StorageError};
use common::token_shard::{BLOCK_BYTES, hex_sha256};

use super::CheckpointError;

/// Size of one request; a whole number of blocks.
const RANGE_BYTES: u64 = 32 * BLOCK_BYTES;

/// Reads and verifies `objects` of the checkpoint in `folder` and shows each to `visit`, whole, as it arrives.
///
/// At most `storage.concurrency` ranges are in flight. The first error ends the reading.
pub(super) fn for_each_object(
    folder: &Folder,
    objects: &[&ObjectEntry],
    mut visit: impl FnMut(&ObjectEntry, &[u8]) -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    check_sizes(folder, objects)?;
    let tasks: Vec<Task<'_>> = objects.iter().enumerate().flat_map(|(i, object)| tasks_of(i, object)).collect();
    let next = AtomicUsize::new(0);
    let threads = folder.concurrency().clamp(1, tasks.len().max(1));
    let (sender, receiver) = mpsc::sync_channel(threads);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, tasks) = (sender.clone(), &next, &tasks);
            scope.spawn(move || {
                // The receiver goes away at the first error; the rest need not be read then.
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if sender.send((task, task.read(folder))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut arriving: HashMap<usize, Arriving> = HashMap::new();
        for (task, content) in receiver {
            let content = content?;
            let arrived = arriving.entry(task.index).or_insert_with(|| Arriving::new(task.object.bytes));
            if arrived.add(task.range.start, &content) {
                visit(task.object, &arrived.content)?;
                arriving.remove(&task.index);
            }
        }
        Ok(())
    })
}

/// Compares a listing with the manifest.
fn check_sizes(folder: &Folder, objects: &[&ObjectEntry]) -> Result<(), CheckpointError> {
    let present: HashMap<String, u64> = folder.list()?.into_iter().map(|o| (o.name, o.bytes)).collect();
    for object in objects {
        let (url, expected) = (folder.url_of(&object.name), object.bytes);
        match present.get(&object.name) {
            None => return Err(CheckpointError::Missing { url, expected }),
            Some(got) if *got != expected => return Err(CheckpointError::Size { url, expected, got: *got }),
            Some(_) => {}
        }
    }
    Ok(())
}

/// One range of one object.
struct Task<'a> {
    index: usize,
    object: &'a ObjectEntry,
    range: Range<u64>,
}

fn tasks_of(index: usize, object: &ObjectEntry) -> impl Iterator<Item = Task<'_>> {
    (0..object.bytes.div_ceil(RANGE_BYTES)).map(move |i| {
        let start = i * RANGE_BYTES;
        Task { index, object, range: start..object.bytes.min(start + RANGE_BYTES) }
    })
}

impl Task<'_> {
    /// Reads the range; where its hash is wrong, once more, since bytes flip on the wire as well as on disks.
    fn read(&self, folder: &Folder) -> Result<Bytes, CheckpointError> {
        match self.read_once(folder) {
            Err(error @ CheckpointError::Hash { .. }) => {
                tracing::warn!("reading once more: {error}");
                self.read_once(folder)
            }
            result => result,
        }
    }

    fn read_once(&self, folder: &Folder) -> Result<Bytes, CheckpointError> {
        let (object, url) = (self.object, || folder.url_of(&self.object.name));
        let content = match folder.get_range(&object.name, self.range.clone()) {
            Err(StorageError::NotFound { .. }) => Err(CheckpointError::Missing { url: url(), expected: object.bytes }),
            other => other.map_err(CheckpointError::from),
        }?;
        let got = self.range.start + content.len() as u64;
        if got != self.range.end {
            return Err(CheckpointError::Size { url: url(), expected: object.bytes, got });
        }
        let first = (self.range.start / BLOCK_BYTES) as usize;
        for (i, block) in content.chunks(BLOCK_BYTES as usize).enumerate() {
            let (expected, got) = (&object.block_sha256[first + i], hex_sha256(block));
            if got != *expected {
                let start = (first + i) as u64 * BLOCK_BYTES;
                let end = start + block.len() as u64;
                return Err(CheckpointError::Hash { url: url(), start, end, expected: expected.clone(), got });
            }
        }
        Ok(content)
    }
}

/// An object of which some ranges are here.
struct Arriving {
    content: Vec<u8>,
    missing_bytes: usize,
}

impl Arriving {
    fn new(bytes: u64) -> Self {
        Arriving { content: vec![0; bytes as usize], missing_bytes: bytes as usize }
    }

    /// Puts a range in its place; true when it was the last.
    fn add(&mut self, start: u64, range: &[u8]) -> bool {
        let start = start as usize;
        self.content[start..start + range.len()].copy_from_slice(range);
        self.missing_bytes -= range.len();
        self.missing_bytes == 0
    }
}
