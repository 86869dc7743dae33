//! Reads an object, or a range of it, from front to back, and requests ahead while the caller works.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::ops::Range;

use bytes::{Buf, Bytes};
use tokio::task::JoinHandle;

use super::error::{Result, StorageError};
use super::folder::Folder;
use super::runtime::RUNTIME;

/// Size of a request, unless the caller asks for another, in bytes.
const REQUEST_BYTES: u64 = 4 << 20;
/// Number of requests made ahead.
const REQUESTS_AHEAD: usize = 2;

/// Reader of a range of an object. Holds at most [`REQUESTS_AHEAD`] + 1 requests.
///
/// As [`io::Read`], fails with an error that holds the [`StorageError`]: see [`Reader::storage_error`].
pub struct Reader {
    folder: Folder,
    name: String,
    request_bytes: u64,
    /// Range that has not been requested yet.
    rest: Range<u64>,
    under_way: VecDeque<JoinHandle<Result<Bytes>>>,
    current: Bytes,
}

impl Folder {
    /// Reads bytes `range` of an object, which must have them. Makes the first requests at once.
    pub fn reader(&self, name: &str, range: Range<u64>) -> Reader {
        self.reader_by(name, range, REQUEST_BYTES)
    }

    /// Reads bytes `range` of an object by requests of `request_bytes`: small ones suit a range that will hardly be read to
    /// its end.
    pub fn reader_by(&self, name: &str, range: Range<u64>, request_bytes: u64) -> Reader {
        let mut reader = Reader {
            folder: self.clone(),
            name: name.to_owned(),
            request_bytes,
            rest: range,
            under_way: VecDeque::new(),
            current: Bytes::new(),
        };
        reader.ask_ahead();
        reader
    }
}

impl Reader {
    /// Returns the next bytes, as many as have arrived together, or `None` at the end of the range.
    pub fn next_bytes(&mut self) -> Result<Option<Bytes>> {
        if !self.current.is_empty() {
            return Ok(Some(std::mem::take(&mut self.current)));
        }
        let Some(next) = self.under_way.pop_front() else { return Ok(None) };
        let got = RUNTIME.block_on(next).unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
        self.ask_ahead();
        got.map(Some)
    }

    fn ask_ahead(&mut self) {
        while self.under_way.len() < REQUESTS_AHEAD && !self.rest.is_empty() {
            let end = self.rest.end.min(self.rest.start + self.request_bytes);
            let range = self.rest.start..end;
            self.rest.start = end;
            let (folder, name) = (self.folder.clone(), self.name.clone());
            self.under_way.push_back(RUNTIME.spawn(async move { folder.read(&name, Some(range)).await }));
        }
    }

    /// Returns the storage error that `error` is, holds or is caused by, at any depth.
    pub fn storage_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e StorageError> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<StorageError>() {
                return Some(found);
            }
            // An I/O error shows the causes of the error that it holds, and not that error itself.
            if let Some(held) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
                && let Some(found) = Self::storage_error(held)
            {
                return Some(found);
            }
            next = error.source();
        }
        None
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.is_empty()
            && let Some(bytes) = self.next_bytes().map_err(io::Error::other)?
        {
            self.current = bytes;
        }
        Ok(&self.current)
    }

    fn consume(&mut self, count: usize) {
        self.current.advance(count);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Requests that are not needed any more are aborted.
        self.under_way.iter().for_each(JoinHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StorageConfig;

    #[test]
    fn a_range_arrives_in_order_and_a_missing_object_is_named() {
        let folder = Folder::open("memory://reader", &StorageConfig::default()).unwrap();
        let content: Vec<u8> = (0..3 * REQUEST_BYTES + 5).map(|i| (i % 251) as u8).collect();
        folder.put("a", content.clone().into()).unwrap();
        let mut read = Vec::new();
        let end = content.len() as u64 - 1;
        folder.reader("a", 7..end).read_to_end(&mut read).unwrap();
        assert!(read == content[7..end as usize]);
        assert_eq!(folder.reader("a", 3..3).next_bytes().unwrap(), None);
        let error = folder.reader("b", 0..9).read_to_end(&mut read).unwrap_err();
        let wrapped = io::Error::other(error);
        assert!(matches!(Reader::storage_error(&wrapped), Some(StorageError::NotFound { url }) if url.ends_with("/b")));
        assert!(Reader::storage_error(&io::Error::other("else")).is_none());
    }
}
