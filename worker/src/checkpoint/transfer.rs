//! Reads ranges of objects, several at once, straight to their destinations; each is verified before it is used.
//!
//! The manifest has a SHA-256 for each block of each object, so ranges verify in any order and on any thread. One
//! listing finds missing objects and wrong sizes before anything is read, and no memory is allocated on the word of a
//! manifest alone. Each thread has one request at a time.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::thread;

use common::checkpoint_layout::ObjectEntry;
use common::checkpoint_layout::tensor_file::ELEMENT_BYTES;
use common::sha256::{Sha256Sum, sha256_each};
use common::storage::{Folder, StorageError};
use common::threads;
use common::token_shard::BLOCK_BYTES;

use super::error::CheckpointError;

/// Size of one request to a store; a whole number of blocks.
const REQUEST_BYTES: u64 = 8 * BLOCK_BYTES;
/// Size of one request to a local disk: two blocks, which are hashed side by side and fit into a processor's cache.
const LOCAL_REQUEST_BYTES: u64 = 2 * BLOCK_BYTES;

/// A range of an object's float32 values, and its destination.
pub(super) struct Values<'a> {
    pub object: &'a ObjectEntry,
    /// Offset of the first value in the object, in bytes; a multiple of an element's size.
    pub start: u64,
    pub to: &'a mut [f32],
}

/// Compares a listing with the manifest's `objects`. The listing may be out of date, so an object that differs in it
/// is asked for by name.
pub(super) fn check_sizes(folder: &Folder, objects: &[ObjectEntry]) -> Result<(), CheckpointError> {
    let listed: HashMap<String, u64> = folder.list()?.into_iter().map(|o| (o.name, o.bytes)).collect();
    for object in objects.iter().filter(|object| listed.get(&object.name) != Some(&object.bytes)) {
        let (url, expected) = (folder.url_of(&object.name), object.bytes);
        match folder.size(&object.name) {
            Ok(got) if got == expected => {}
            Ok(got) => return Err(CheckpointError::Size { url, expected, got }),
            Err(StorageError::NotFound { .. }) => return Err(CheckpointError::Missing { url, expected }),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads `values` to their destinations.
pub(super) fn read_values(folder: &Folder, mut values: Vec<Values<'_>>) -> Result<(), CheckpointError> {
    values.sort_by(|a, b| (&a.object.name, a.start).cmp(&(&b.object.name, b.start)));
    let mut requests: Vec<Request<'_>> = Vec::new();
    for Values { object, mut start, mut to } in values {
        while !to.is_empty() {
            let request = match requests.last_mut() {
                Some(last) if last.has_room_at(object, start) => last,
                _ => {
                    requests.push(Request::at(object, start, request_bytes(folder)));
                    let last = requests.len() - 1;
                    &mut requests[last]
                }
            };
            (start, to) = request.take(start, to);
        }
    }
    read_requests(folder, requests)
}

/// Reads and verifies the bytes `range` of an object.
pub(super) fn read_bytes(folder: &Folder, object: &ObjectEntry, range: Range<u64>) -> Result<Vec<u8>, CheckpointError> {
    let start = range.start / BLOCK_BYTES * BLOCK_BYTES;
    let blocks = start..range.end.next_multiple_of(BLOCK_BYTES).min(object.bytes);
    let mut buffer = Vec::new();
    read_verified(folder, object, &blocks, &mut buffer)?;
    Ok(buffer[(range.start - start) as usize..(range.end - start) as usize].to_vec())
}

fn request_bytes(folder: &Folder) -> u64 {
    if folder.local().is_some() { LOCAL_REQUEST_BYTES } else { REQUEST_BYTES }
}

/// Returns how many requests run at once: for a local disk, at most the number of cores that can hash what they read.
fn threads(folder: &Folder) -> usize {
    match folder.local() {
        Some(_) => threads::cores().min(folder.concurrency()),
        None => folder.concurrency(),
    }
}

/// Whole blocks of one object, and the pieces of them that are wanted.
struct Request<'a> {
    object: &'a ObjectEntry,
    /// Range of the blocks in the object, in bytes.
    blocks: Range<u64>,
    /// Upper bound of the end of `blocks`.
    limit: u64,
    /// Offset of each piece in the object, in bytes, and its destination.
    pieces: Vec<(u64, &'a mut [f32])>,
}

impl<'a> Request<'a> {
    /// Creates an empty request for pieces from byte `start` on.
    fn at(object: &'a ObjectEntry, start: u64, length: u64) -> Self {
        let first = start / BLOCK_BYTES * BLOCK_BYTES;
        Request { object, blocks: first..first, limit: object.bytes.min(first + length), pieces: Vec::new() }
    }

    /// Returns whether a piece that begins at byte `start` of `object` fits into this request without an unwanted
    /// block in between.
    fn has_room_at(&self, object: &ObjectEntry, start: u64) -> bool {
        std::ptr::eq(self.object, object) && start / BLOCK_BYTES * BLOCK_BYTES <= self.blocks.end && start < self.limit
    }

    /// Takes as much of `to` as fits. Returns where the rest begins, and the rest.
    fn take(&mut self, start: u64, to: &'a mut [f32]) -> (u64, &'a mut [f32]) {
        let room = (self.limit - start) as usize / ELEMENT_BYTES;
        let (piece, rest) = to.split_at_mut(room.min(to.len()));
        let end = start + (piece.len() * ELEMENT_BYTES) as u64;
        self.blocks.end = end.next_multiple_of(BLOCK_BYTES).min(self.object.bytes);
        self.pieces.push((start, piece));
        (end, rest)
    }

    /// Reads and verifies the blocks through `buffer`, and copies every piece to its destination.
    fn fulfil(self, folder: &Folder, buffer: &mut Vec<u8>) -> Result<(), CheckpointError> {
        read_verified(folder, self.object, &self.blocks, buffer)?;
        for (start, piece) in self.pieces {
            let bytes = &buffer[(start - self.blocks.start) as usize..][..piece.len() * ELEMENT_BYTES];
            for (to, from) in piece.iter_mut().zip(bytes.as_chunks().0) {
                *to = f32::from_le_bytes(*from);
            }
        }
        Ok(())
    }
}

/// Fulfils `requests` on several threads; the first error ends all of them.
fn read_requests(folder: &Folder, requests: Vec<Request<'_>>) -> Result<(), CheckpointError> {
    let threads = threads(folder).clamp(1, requests.len().max(1));
    let queue = Mutex::new(requests.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let failed = Mutex::new(None);
    let work = || {
        let mut buffer = Vec::new();
        while let Some(request) = next() {
            if let Err(error) = request.fulfil(folder, &mut buffer) {
                // Requests that no thread has begun are dropped.
                queue.lock().unwrap_or_else(PoisonError::into_inner).by_ref().for_each(drop);
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    };
    thread::scope(|scope| {
        // Fewer threads also work, if the system grants no more.
        (1..threads).map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok()).for_each(drop);
        work();
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Reads `blocks` of an object into `buffer`, twice if a hash is wrong: bits flip on the wire as well as on disks.
fn read_verified(
    folder: &Folder,
    object: &ObjectEntry,
    blocks: &Range<u64>,
    buffer: &mut Vec<u8>,
) -> Result<(), CheckpointError> {
    match read_once(folder, object, blocks, buffer) {
        Err(error @ CheckpointError::Hash { .. }) => {
            tracing::warn!("reading once more: {error}");
            read_once(folder, object, blocks, buffer)
        }
        result => result,
    }
}

fn read_once(
    folder: &Folder,
    object: &ObjectEntry,
    blocks: &Range<u64>,
    buffer: &mut Vec<u8>,
) -> Result<(), CheckpointError> {
    fill(folder, object, blocks, buffer)?;
    let first = (blocks.start / BLOCK_BYTES) as usize;
    let hashes = sha256_each(buffer.chunks(BLOCK_BYTES as usize));
    for (i, (got, expected)) in hashes.into_iter().zip(&object.block_sha256[first..]).enumerate() {
        check_hash(folder, object, block(object, first + i), Sha256Sum(got), *expected)?;
    }
    Ok(())
}

/// Reads the bytes `range` of an object into `buffer`.
fn fill(
    folder: &Folder,
    object: &ObjectEntry,
    range: &Range<u64>,
    buffer: &mut Vec<u8>,
) -> Result<(), CheckpointError> {
    let (url, expected) = (|| folder.url_of(&object.name), object.bytes);
    buffer.resize((range.end - range.start) as usize, 0);
    let got = match folder.read_into(&object.name, range.start, buffer) {
        Err(StorageError::NotFound { .. }) => return Err(CheckpointError::Missing { url: url(), expected }),
        other => range.start + other? as u64,
    };
    match got == range.end {
        true => Ok(()),
        false => Err(CheckpointError::Size { url: url(), expected, got }),
    }
}

/// Returns the byte range of block number `index`.
fn block(object: &ObjectEntry, index: usize) -> Range<u64> {
    let start = index as u64 * BLOCK_BYTES;
    start..object.bytes.min(start + BLOCK_BYTES)
}

fn check_hash(
    folder: &Folder,
    object: &ObjectEntry,
    bytes: Range<u64>,
    got: Sha256Sum,
    expected: Sha256Sum,
) -> Result<(), CheckpointError> {
    match got == expected {
        true => Ok(()),
        false => Err(CheckpointError::Hash {
            url: folder.url_of(&object.name),
            start: bytes.start,
            end: bytes.end,
            expected,
            got,
        }),
    }
}
