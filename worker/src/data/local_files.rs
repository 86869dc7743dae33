//! Shards that are files of this machine. They are their own cache, and are read through the page cache.
//!
//! Blocks are verified in pairs, in parts that stay in the processor's cache between the read, the hash and the check
//! of the ids. Verifying then costs little more than the hash, which takes half as long for a pair as for each block
//! alone.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use common::sha256::{Sha256Pair, Sha256Sum};

use super::shards::{BlockId, Shards};

/// Bytes of each of two blocks that are read at once.
const PART_BYTES: usize = 64 << 10;

/// The files of a folder of shards, each opened when it is first read.
#[derive(Debug)]
pub(super) struct LocalFiles {
    folder: PathBuf,
    open: Vec<OnceLock<File>>,
}

thread_local! {
    /// Buffers for a part of each of two blocks, or for some bytes of one.
    static BUFFERS: RefCell<[Vec<u8>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

impl LocalFiles {
    /// Creates the files of `shards` in `folder`; opens none yet.
    pub fn new(folder: PathBuf, shards: &Shards) -> Self {
        LocalFiles { folder, open: shards.index().shards.iter().map(|_| OnceLock::new()).collect() }
    }

    /// Fills `buffer` with bytes of a shard, from byte `start` on.
    pub fn read(&self, shards: &Shards, shard: usize, start: u64, buffer: &mut [u8]) -> io::Result<()> {
        if self.open[shard].get().is_none() {
            // If another thread was faster, this file is closed again.
            let _ = self.open[shard].set(File::open(self.folder.join(&shards.index().shards[shard].name))?);
        }
        match self.open[shard].get() {
            Some(file) => file.read_exact_at(buffer, start),
            None => unreachable!("it was opened above"),
        }
    }

    /// Calls `show` with `length` bytes of a shard, from byte `start` on.
    pub fn show(
        &self,
        shards: &Shards,
        (shard, start, length): (usize, u64, usize),
        show: impl FnOnce(&[u8]),
    ) -> io::Result<()> {
        BUFFERS.with_borrow_mut(|[buffer, _]| {
            if buffer.len() < length {
                buffer.resize(length, 0);
            }
            self.read(shards, shard, start, &mut buffer[..length])?;
            show(&buffer[..length]);
            Ok(())
        })
    }

    /// Returns whether both blocks have the right hashes and ids. False if that cannot be verified in a pair: a later
    /// read of each block alone finds the fault, if there is one.
    pub fn are_right(&self, shards: &Shards, ids: [BlockId; 2]) -> bool {
        if ids.iter().any(|id| shards.hash(*id).is_none() || shards.check_size(id.shard).is_err()) {
            return false;
        }
        BUFFERS.with_borrow_mut(|buffers| self.hashes_and_ids_are_right(shards, ids, buffers).unwrap_or(false))
    }

    fn hashes_and_ids_are_right(
        &self,
        shards: &Shards,
        ids: [BlockId; 2],
        buffers: &mut [Vec<u8>; 2],
    ) -> io::Result<bool> {
        let ranges = ids.map(|id| id.range(&shards.index().shards[id.shard]));
        let length = ranges[0].end - ranges[0].start;
        if length != ranges[1].end - ranges[1].start {
            return Ok(false);
        }
        let mut pair = Sha256Pair::default();
        let mut done = 0;
        loop {
            let part = PART_BYTES.min((length - done) as usize);
            for ((id, range), buffer) in ids.iter().zip(&ranges).zip(buffers.iter_mut()) {
                buffer.resize(PART_BYTES.max(buffer.len()), 0);
                self.read(shards, id.shard, range.start + done, &mut buffer[..part])?;
                if shards.check_content(*id, done, &buffer[..part]).is_err() {
                    return Ok(false);
                }
            }
            done += part as u64;
            let parts = [&buffers[0][..part], &buffers[1][..part]];
            if done < length {
                pair.update(parts);
                continue;
            }
            let hashes = pair.finish(parts);
            return Ok(ids.iter().zip(hashes).all(|(id, hash)| shards.hash(*id) == Some(Sha256Sum(hash))));
        }
    }
}
