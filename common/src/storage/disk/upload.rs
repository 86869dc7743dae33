//! Writes a large object that will not be read soon to a local disk: under another name, and renamed once it is whole and
//! durable.
//!
//! The object bypasses the page cache where that is as fast (`way.rs`). In the page cache it would only displace what is
//! read, token shards above all, and copying it there takes more processor time than hashing it. The kernel requires memory,
//! lengths and file offsets to be multiples of a page. Parts that are not go through the page cache, as everything does
//! where a file system cannot bypass it. They are written out at once, and dropped from it while the next ones are
//! (`write_back.rs`), so that memory stays bounded.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use object_store::{MultipartUpload, PutPayload, PutResult, UploadPart};
use tokio::task::spawn_blocking;

use super::way::{TRIAL_PARTS, Way, Ways};
use super::write_back;

/// Number of parts in the page cache that may be on their way to the disk before the oldest is waited for.
const CACHED_PARTS: usize = 4;
/// Required alignment of memory, lengths and file offsets, in bytes.
const ALIGNMENT: usize = 4096;

/// A file being written.
#[derive(Debug)]
pub(crate) struct DiskUpload {
    /// Path under which the file is written.
    staged: PathBuf,
    target: PathBuf,
    files: Arc<Files>,
    /// Offset of the next part.
    end: u64,
    /// Whether the file has its final name. The other name may be another upload's by now.
    is_finished: bool,
}

/// One file, opened twice.
#[derive(Debug)]
struct Files {
    /// Opened to bypass the page cache, if the file system can.
    direct: Option<File>,
    ordinary: File,
    ways: Arc<Ways>,
    /// Times of both ways during a trial, in which parts are written one after the other; `None` otherwise.
    trial: Mutex<Option<Trial>>,
    progress: Mutex<Progress>,
}

/// Times that an equal number of equally large parts took each way.
#[derive(Debug, Default)]
struct Trial {
    direct: Vec<Duration>,
    cached: Vec<Duration>,
}

/// What has been written since the trial, if there was one.
#[derive(Debug, Default)]
struct Progress {
    bytes: u64,
    /// Number of parts being written.
    under_way: u32,
    /// When the first of these parts began.
    since: Option<Instant>,
    /// Total time during which parts were being written.
    took: Duration,
    /// Parts in the page cache, oldest first: byte ranges of the file.
    cached: VecDeque<Range<u64>>,
}

impl DiskUpload {
    /// Begins the file `target`, and makes its missing folders.
    pub fn begin(target: PathBuf, ways: Arc<Ways>) -> object_store::Result<Self> {
        let begin = || {
            create_folders(target.parent().unwrap_or(FilePath::new("/")))?;
            let (staged, ordinary) = create_staged(&target)?;
            Ok(DiskUpload {
                files: Arc::new(Files::new(open_direct(&staged).ok(), ordinary, ways)),
                staged,
                target: target.clone(),
                end: 0,
                is_finished: false,
            })
        };
        begin().map_err(refused)
    }
}

#[async_trait]
impl MultipartUpload for DiskUpload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        let (files, start) = (self.files.clone(), self.end);
        self.end += part.content_length() as u64;
        Box::pin(async move { blocking(move || files.write(start, &part)).await })
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let (files, staged, target) = (self.files.clone(), self.staged.clone(), self.target.clone());
        blocking(move || {
            files.finish()?;
            fs::rename(staged, &target)?;
            sync_folder(target.parent().unwrap_or(FilePath::new("/")))
        })
        .await?;
        self.is_finished = true;
        Ok(PutResult { e_tag: None, version: None, extensions: Default::default() })
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        let staged = self.staged.clone();
        blocking(move || fs::remove_file(staged)).await?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for DiskUpload {
    fn drop(&mut self) {
        if !self.is_finished {
            // If only making it durable has failed, it is gone already.
            let _ = fs::remove_file(&self.staged);
        }
    }
}

impl Files {
    fn new(direct: Option<File>, ordinary: File, ways: Arc<Ways>) -> Self {
        let trial = (direct.is_some() && ways.chosen().is_none()).then(Trial::default);
        Files { direct, ordinary, ways, trial: Mutex::new(trial), progress: Mutex::default() }
    }

    fn write(&self, start: u64, part: &PutPayload) -> io::Result<()> {
        let mut memory = Vec::new();
        let content = aligned(&mut memory, part);
        let is_aligned = content.len().is_multiple_of(ALIGNMENT) && start.is_multiple_of(ALIGNMENT as u64);
        match self.direct.as_ref().filter(|_| is_aligned) {
            Some(direct) if self.try_both_ways(direct, start, content)? => Ok(()),
            Some(direct) => self.counted(content.len(), || match self.ways.chosen() {
                Some(Way::Cached) => self.write_cached(start, content),
                _ => self.write_direct(direct, start, content),
            }),
            None => self.counted(content.len(), || self.write_cached(start, content)),
        }
    }

    /// Writes a part as part of a trial. Returns false if no trial is in progress.
    fn try_both_ways(&self, direct: &File, start: u64, content: &[u8]) -> io::Result<bool> {
        let mut under_way = self.trial.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(trial) = under_way.as_mut() else { return Ok(false) };
        let began = Instant::now();
        if trial.direct.len() < TRIAL_PARTS {
            self.write_direct(direct, start, content)?;
            trial.direct.push(began.elapsed());
        } else {
            self.ordinary.write_all_at(content, start)?;
            write_back::end(&self.ordinary, &(start..start + content.len() as u64))?;
            trial.cached.push(began.elapsed());
        }
        if trial.cached.len() == TRIAL_PARTS {
            self.ways.tried(trial.direct.iter().sum(), trial.cached.iter().sum());
            *under_way = None;
        }
        Ok(true)
    }

    fn write_direct(&self, direct: &File, start: u64, content: &[u8]) -> io::Result<()> {
        match direct.write_all_at(content, start) {
            // Some file systems only report here that they cannot.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.write_cached(start, content),
            result => result,
        }
    }

    fn write_cached(&self, start: u64, content: &[u8]) -> io::Result<()> {
        self.ordinary.write_all_at(content, start)?;
        let part = start..start + content.len() as u64;
        write_back::begin(&self.ordinary, &part)?;
        let oldest = {
            let cached = &mut self.progress.lock().unwrap_or_else(PoisonError::into_inner).cached;
            cached.push_back(part);
            if cached.len() > CACHED_PARTS { cached.pop_front() } else { None }
        };
        oldest.map_or(Ok(()), |oldest| write_back::end(&self.ordinary, &oldest))
    }

    /// Runs `write`, and counts its bytes and the time during which anything is being written.
    fn counted(&self, bytes: usize, write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let progress = || self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress().begin();
        let written = write();
        progress().end(bytes as u64);
        written
    }

    /// Makes the whole file durable, and notes its speed.
    fn finish(&self) -> io::Result<()> {
        self.counted(0, || self.ordinary.sync_all())?;
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if self.ways.chosen().is_some() && progress.bytes > 0 {
            self.ways.went(progress.bytes, progress.took);
        }
        Ok(())
    }
}

impl Progress {
    fn begin(&mut self) {
        self.under_way += 1;
        self.since.get_or_insert_with(Instant::now);
    }

    fn end(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.under_way -= 1;
        if self.under_way == 0 {
            self.took += self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        }
    }
}

/// Returns `part` in one piece that begins at a multiple of [`ALIGNMENT`]: as it is, or copied to `memory`.
fn aligned<'m>(memory: &'m mut Vec<u8>, part: &'m PutPayload) -> &'m [u8] {
    if let [piece] = part.as_ref()
        && piece.as_ptr().addr().is_multiple_of(ALIGNMENT)
    {
        return piece;
    }
    let bytes = part.content_length();
    memory.resize(bytes + ALIGNMENT, 0);
    let first = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
    let content = &mut memory[first..first + bytes];
    let mut rest = &mut *content;
    for piece in part {
        let (now, later) = rest.split_at_mut(piece.len());
        now.copy_from_slice(piece);
        rest = later;
    }
    content
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> object_store::Result<T> {
    spawn_blocking(work).await?.map_err(refused)
}

fn refused(error: io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "local disk", source: error.into() }
}

fn open_direct(path: &FilePath) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::OpenOptionsExt;
        OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path)
    }
    #[cfg(not(target_os = "linux"))]
    Err(io::ErrorKind::Unsupported.into())
}

/// Creates a file beside `target`, named as the local store names unfinished objects: `name#1`.
fn create_staged(target: &FilePath) -> io::Result<(PathBuf, File)> {
    for number in 1_u32.. {
        let mut staged = target.as_os_str().to_owned();
        staged.push(format!("#{number}"));
        match OpenOptions::new().write(true).create_new(true).open(&staged) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return Ok((staged.into(), created?)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Makes `folder` and its missing parents, durably.
fn create_folders(folder: &FilePath) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().unwrap_or(FilePath::new("/"));
    create_folders(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        // Another process may have been as fast, and may end before it has made the folder durable.
        _ => sync_folder(above),
    }
}

fn sync_folder(folder: &FilePath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::runtime::RUNTIME;

    fn names(folder: &FilePath) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn write(upload: &mut DiskUpload, content: &[u8], part_bytes: usize) {
        // Last parts first: parts know their offsets.
        let parts: Vec<_> = content.chunks(part_bytes).map(|part| upload.put_part(part.to_vec().into())).collect();
        parts.into_iter().rev().for_each(|part| RUNTIME.block_on(part).unwrap());
    }

    #[test]
    fn a_file_appears_whole_and_replaces_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a/b/file");
        let content: Vec<u8> = (0..100_000_u64).map(|i| ((i * i) >> 3) as u8).collect();
        for (bytes, part_bytes) in [(10, 3), (0, 1), (40_960, 4096), (100_000, 8192), (100_000, 5000)] {
            let before = fs::read(&target).ok();
            let mut upload = DiskUpload::begin(target.clone(), Arc::default()).unwrap();
            write(&mut upload, &content[..bytes], part_bytes);
            assert!(fs::read(&target).ok() == before);
            RUNTIME.block_on(upload.complete()).unwrap();
            assert!(fs::read(&target).unwrap() == content[..bytes], "{bytes} bytes in parts of {part_bytes}");
            assert_eq!(names(target.parent().unwrap()), ["file"]);
        }
    }

    #[test]
    fn what_is_not_finished_leaves_nothing_and_two_do_not_meet() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("file");
        let begin = || DiskUpload::begin(target.clone(), Arc::default()).unwrap();
        let (mut dropped, mut finished) = (begin(), begin());
        write(&mut dropped, b"dropped", 10);
        write(&mut finished, b"finished", 10);
        assert_eq!(names(dir.path()), ["file#1", "file#2"]);
        RUNTIME.block_on(finished.complete()).unwrap();
        drop(dropped);
        assert_eq!((names(dir.path()), fs::read(&target).unwrap()), (vec!["file".to_owned()], b"finished".to_vec()));
    }
}
