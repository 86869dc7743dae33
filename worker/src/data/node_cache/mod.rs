//! The node cache: blocks on a local disk, shared by the ranks of a node.
//!
//! A block's file is named by its SHA-256, so its content is right or recognised as wrong, independent of who wrote
//! it and for which run. A file appears whole, by renaming. Of several processes that want one block, one fetches it,
//! and the others wait for the lock that it holds, which ends with the process.
//!
//! The folder never exceeds its capacity, however many processes add to it: they keep one account of its bytes, in a
//! file that one process at a time locks. A block is entered before it is written, and the files used longest ago are
//! removed to make room. A process that is killed can only leave the account too high, until it is next computed
//! anew. Only this user can write there.
//!
//! - `files`: names of files, and how they are opened and removed.
//! - `room`: the account, and making room.

mod files;
mod room;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use common::sha256::Sha256Sum;
use common::token_shard::BLOCK_BYTES;

use crate::own_folder;
use files::{UNFINISHED, is_at, open_block, own_file, path_of, remove_block};
use room::{FREE_PART, Room};

/// Limit of the number of files that are kept open. A removed file takes its room on the disk until it is closed, so
/// in a small folder the limit is lower.
const OPEN_MAX: u64 = 256;

/// A folder of blocks.
#[derive(Debug)]
pub(super) struct NodeCache {
    folder: PathBuf,
    room: Room,
    open_max: usize,
    open: Mutex<HashMap<Sha256Sum, Arc<File>>>,
}

impl NodeCache {
    /// Opens the cache in `folder`, which is created if it is missing and may hold `capacity_bytes`. Fails if another
    /// user owns the folder or can write to it.
    pub fn open(folder: &Path, capacity_bytes: u64) -> io::Result<Self> {
        own_folder::make(folder)?;
        let open_max = (capacity_bytes / FREE_PART / BLOCK_BYTES).clamp(1, OPEN_MAX) as usize;
        let room = Room::of(folder.to_owned(), capacity_bytes)?;
        Ok(NodeCache { folder: folder.to_owned(), room, open_max, open: Mutex::default() })
    }

    /// Returns the block with the hash `hash` from the folder, or calls `fetch` for it and keeps the result. A disk
    /// that fails only costs the caching.
    pub fn get<E>(&self, hash: Sha256Sum, fetch: impl FnOnce() -> Result<Bytes, E>) -> Result<Bytes, E> {
        if let Some(content) = self.read(hash) {
            return Ok(content);
        }
        let locked = self.lock(hash).map_err(|error| self.warn("lock", &error));
        // Another process may have fetched the block meanwhile.
        if let Some(content) = self.read(hash) {
            return Ok(content);
        }
        let content = fetch()?;
        if let Ok(file) = locked {
            let _ = self.write(hash, file, &content).map_err(|error| self.warn("write", &error));
        }
        Ok(content)
    }

    /// Calls `show` with this range of a block that was fetched before. Returns false if the block is no longer
    /// there.
    pub fn show(&self, hash: Sha256Sum, range: Range<usize>, show: impl FnOnce(&[u8])) -> bool {
        let Ok(file) = self.file(hash) else { return false };
        let mut buffer = vec![0; range.len()];
        if file.read_exact_at(&mut buffer, range.start as u64).is_err() {
            return false;
        }
        show(&buffer);
        true
    }

    fn path(&self, hash: Sha256Sum) -> PathBuf {
        path_of(&self.folder, hash)
    }

    /// Reads the whole block, if it is there and right.
    fn read(&self, hash: Sha256Sum) -> Option<Bytes> {
        let mut content = Vec::new();
        let read = open_block(&self.path(hash)).and_then(|file| file.take(BLOCK_BYTES).read_to_end(&mut content));
        read.ok()?;
        if Sha256Sum::of(&content) == hash {
            return Some(content.into());
        }
        tracing::warn!("{} is damaged and is fetched again", self.path(hash).display());
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash);
        let _ = remove_block(&self.folder, &self.path(hash));
        None
    }

    /// Waits until this process may fetch the block, and returns the file to write it to.
    fn lock(&self, hash: Sha256Sum) -> io::Result<File> {
        let path = self.path(hash).with_extension(UNFINISHED);
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder)?;
        if fs::symlink_metadata(folder)?.is_symlink() {
            return Err(io::Error::other(format!("{} is a symbolic link", folder.display())));
        }
        loop {
            let file = own_file().open(&path)?;
            file.lock()?;
            // The previous holder of the lock may have renamed the file, which is then the block itself.
            if is_at(&file, &path) {
                return Ok(file);
            }
            if self.path(hash).exists() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
        }
    }

    fn write(&self, hash: Sha256Sum, mut file: File, content: &[u8]) -> io::Result<()> {
        if !self.room.enter(&file, content.len() as u64)? {
            return fs::remove_file(self.path(hash).with_extension(UNFINISHED));
        }
        file.rewind()?;
        file.write_all(content)?;
        fs::rename(self.path(hash).with_extension(UNFINISHED), self.path(hash))
    }

    /// Returns the open file of a block, and counts the block as used now.
    fn file(&self, hash: Sha256Sum) -> io::Result<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match open.get(&hash) {
            Some(file) => file.clone(),
            None => {
                if open.len() >= self.open_max {
                    open.clear();
                }
                let file = Arc::new(open_block(&self.path(hash))?);
                open.insert(hash, file.clone());
                file
            }
        };
        let _ = file.set_modified(SystemTime::now());
        Ok(file)
    }

    fn warn(&self, operation: &str, error: &io::Error) {
        if error.kind() != io::ErrorKind::AlreadyExists {
            tracing::warn!("cannot {operation} a block in data.cache_dir, {}: {error}", self.folder.display());
        }
    }
}
