//! Reads an object, or a range of it, through failures on the way.
//!
//! Data that has arrived is kept: after a stall, a broken connection or a short body only the rest is requested again. If
//! the first byte of a request is late, a second request runs beside it, and the first to deliver wins.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::select_ok;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use tokio::time::{sleep, timeout};

use super::error::{AttemptError, Result};
use super::folder::Folder;
use super::object_info::version_of;
use super::open::Opened;
use super::store::Store;

impl Folder {
    /// Fills `buffer` with an object's bytes from `start` on, in place if the object is a local file. Returns the number of
    /// bytes, which is less than the buffer's length if the object ends before.
    pub fn read_into(&self, name: &str, start: u64, buffer: &mut [u8]) -> Result<usize> {
        if let Some(file) = self.file(name) {
            return read_file(&file, start, buffer).map_err(|error| self.local_error("read", name, error));
        }
        let bytes = self.get_range(name, start..start + buffer.len() as u64)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    /// Reads the object `name`, or bytes `range` of it. Returns fewer bytes if the object ends before the range does.
    pub(super) async fn read(&self, name: &str, range: Option<Range<u64>>) -> Result<Bytes> {
        let (mut operation, path) = (self.operation("read", name), self.path(name));
        if !self.store.is_remote() {
            // In one go: a stream of a file is read in small pieces.
            let (path, range) = (&path, &range);
            return operation
                .request(|opened| async move {
                    match range {
                        Some(range) => opened.objects.get_range(path, range.clone()).await,
                        None => opened.objects.get(path).await?.bytes().await,
                    }
                })
                .await;
        }
        let mut arrived = Arrived::new(range);
        loop {
            let (opened, before) = (operation.opened(), arrived.bytes.len());
            if operation.attempt(arrived.receive(&self.store, opened, &path)).await?.is_some() {
                return Ok(arrived.bytes.freeze());
            }
            if arrived.bytes.len() > before {
                operation.note_progress();
            }
        }
    }
}

fn read_file(path: &FilePath, start: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What has arrived of an object so far.
struct Arrived {
    asked: Option<Range<u64>>,
    /// The range that the object has of what was asked, and its version, once an answer gave them.
    known: Option<(Range<u64>, String)>,
    bytes: BytesMut,
}

/// An answer whose body has begun.
struct Begun {
    range: Range<u64>,
    version: String,
    first: Option<Bytes>,
    rest: BoxStream<'static, object_store::Result<Bytes>>,
}

impl Arrived {
    fn new(asked: Option<Range<u64>>) -> Self {
        Arrived { asked, known: None, bytes: BytesMut::new() }
    }

    /// Requests what is missing and takes what arrives, until all is there or nothing arrives any more.
    async fn receive(&mut self, store: &Store, opened: Opened, path: &Path) -> std::result::Result<(), AttemptError> {
        let limit_s = store.config.stall_timeout_s;
        let stall = Duration::from_secs(limit_s);
        let begun = timeout(stall, begin_hedged(store, opened.objects, path, self.missing()));
        let mut begun = begun.await.map_err(|_| AttemptError::Stalled(limit_s))??;
        self.agree(begun.range, begun.version)?;
        let mut next = begun.first;
        while let Some(piece) = next {
            self.take(&piece)?;
            if self.is_complete() {
                break;
            }
            next = timeout(stall, begun.rest.try_next()).await.map_err(|_| AttemptError::Stalled(limit_s))??;
        }
        if self.is_complete() { Ok(()) } else { Err(self.length()) }
    }

    fn missing(&self) -> Option<GetRange> {
        match (&self.known, &self.asked) {
            (Some((range, _)), _) if !self.bytes.is_empty() => {
                Some(GetRange::Bounded(range.start + self.bytes.len() as u64..range.end))
            }
            (_, Some(asked)) => Some(GetRange::Bounded(asked.clone())),
            _ => None,
        }
    }

    /// Checks that an answer continues where the previous one broke off, in the same version of the object.
    fn agree(&mut self, range: Range<u64>, version: String) -> std::result::Result<(), AttemptError> {
        match &self.known {
            Some((_, known)) if !self.bytes.is_empty() && *known != version => {
                self.bytes.clear();
                Err(AttemptError::Changed)
            }
            Some(_) if !self.bytes.is_empty() => Ok(()),
            _ => {
                self.bytes.reserve((range.end - range.start) as usize);
                self.known = Some((range, version));
                Ok(())
            }
        }
    }

    fn take(&mut self, piece: &Bytes) -> std::result::Result<(), AttemptError> {
        self.bytes.extend_from_slice(piece);
        if self.bytes.len() as u64 > self.expected() {
            let error = self.length();
            self.bytes.clear();
            return Err(error);
        }
        Ok(())
    }

    fn expected(&self) -> u64 {
        self.known.as_ref().map_or(0, |(range, _)| range.end - range.start)
    }

    fn is_complete(&self) -> bool {
        self.bytes.len() as u64 == self.expected()
    }

    fn length(&self) -> AttemptError {
        AttemptError::Length { got: self.bytes.len(), expected: self.expected() }
    }
}

async fn begin(objects: Arc<dyn ObjectStore>, path: Path, range: Option<GetRange>) -> object_store::Result<Begun> {
    let result = objects.get_opts(&path, GetOptions { range, ..GetOptions::default() }).await?;
    let (range, version) = (result.range.clone(), version_of(&result.meta));
    let mut rest = result.into_stream().boxed();
    let first = rest.try_next().await?;
    Ok(Begun { range, version, first, rest })
}

/// Begins a request, and a second one beside it if the first has been silent for `storage.hedge_after_ms`. The second starts
/// only if a permit is free, so that a store that is slow because it is busy gets no extra load.
async fn begin_hedged(
    store: &Store,
    objects: Arc<dyn ObjectStore>,
    path: &Path,
    range: Option<GetRange>,
) -> object_store::Result<Begun> {
    let mut first = begin(objects.clone(), path.clone(), range.clone()).boxed();
    let after = Duration::from_millis(store.config.hedge_after_ms);
    if after.is_zero() {
        return first.await;
    }
    tokio::select! {
        begun = &mut first => return begun,
        () = sleep(after) => {}
    }
    let Ok(_permit) = store.requests.try_acquire() else { return first.await };
    let second = begin(objects, path.clone(), range).boxed();
    select_ok([first, second]).await.map(|(begun, _)| begun)
}
