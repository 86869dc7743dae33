//! An object of a store, as the Parquet library reads files.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes};
use common::storage::Folder;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};

/// A file in a store, fetched in windows. Clones share their window.
#[derive(Clone)]
pub struct RemoteFile {
    shared: Arc<Shared>,
}

struct Shared {
    folder: Folder,
    name: String,
    bytes: u64,
    window_bytes: u64,
    /// Window that was fetched last, with the position at which it begins.
    window: Mutex<(u64, Bytes)>,
}

impl RemoteFile {
    /// Returns the object `name` of `folder`, which has this number of `bytes`. At least `window_bytes` are fetched at once.
    pub fn new(folder: &Folder, name: &str, bytes: u64, window_bytes: u64) -> Self {
        let (folder, name) = (folder.clone(), name.to_owned());
        RemoteFile { shared: Arc::new(Shared { folder, name, bytes, window_bytes, window: Mutex::default() }) }
    }
}

impl Shared {
    /// Returns at least one byte from `start` on, unless the file ends there.
    fn from(&self, start: u64) -> io::Result<Bytes> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, bytes) = &*window;
        if let Some(at) = start.checked_sub(*first).filter(|at| *at < bytes.len() as u64) {
            return Ok(bytes.slice(at as usize..));
        }
        let end = self.bytes.min(start.saturating_add(self.window_bytes));
        if start >= end {
            return Ok(Bytes::new());
        }
        let bytes = self.folder.get_range(&self.name, start..end).map_err(io::Error::other)?;
        *window = (start, bytes.clone());
        Ok(bytes)
    }
}

impl Length for RemoteFile {
    fn len(&self) -> u64 {
        self.shared.bytes
    }
}

impl ChunkReader for RemoteFile {
    type T = RemoteReader;

    fn get_read(&self, start: u64) -> ParquetResult<RemoteReader> {
        Ok(RemoteReader { shared: self.shared.clone(), next: start, current: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let window = self.shared.from(start)?;
        if window.len() >= length {
            return Ok(window.slice(..length));
        }
        let end = start.saturating_add(length as u64);
        if end > self.shared.bytes {
            return Err(ParquetError::EOF("it ends too early: truncated".into()));
        }
        let shared = &self.shared;
        shared.folder.get_range(&shared.name, start..end).map_err(|e| ParquetError::External(Box::new(e)))
    }
}

/// Reads a file from a position on.
pub struct RemoteReader {
    shared: Arc<Shared>,
    next: u64,
    current: Bytes,
}

impl Read for RemoteReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            self.current = self.shared.from(self.next)?;
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        self.next += count as u64;
        Ok(count)
    }
}
