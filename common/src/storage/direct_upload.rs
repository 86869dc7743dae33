//! A large object on a local disk, written past the page cache: under another name, which it sheds when it is whole and durable.
//!
//! What nobody reads soon would only push out of the page cache what is read, shards of tokens most of all; and to copy it there
//! takes more of a processor than to hash it. The kernel wants memory, lengths and places in the file at multiples of a page;
//! what is not so goes through the page cache, as everything does where a file system cannot do better.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use object_store::{MultipartUpload, PutPayload, PutResult, UploadPart};
use tokio::task::spawn_blocking;

/// What memory, lengths and places in the file are multiples of.
const ALIGNMENT: usize = 4096;

/// A file under way.
#[derive(Debug)]
pub(super) struct DirectUpload {
    /// Under its other name.
    staged: PathBuf,
    target: PathBuf,
    files: Arc<Files>,
    /// Where the next part goes.
    end: u64,
    /// It has its name, and the other one may be another upload's by now.
    is_finished: bool,
}

/// One file, opened twice.
#[derive(Debug)]
struct Files {
    /// Past the page cache, where that can be.
    direct: Option<File>,
    ordinary: File,
}

impl DirectUpload {
    /// Begins the file `target`; its folders are made where they are missing.
    pub fn begin(target: PathBuf) -> object_store::Result<Self> {
        let begin = || {
            create_folders(target.parent().unwrap_or(FilePath::new("/")))?;
            let (staged, ordinary) = create_staged(&target)?;
            let direct = open_direct(&staged).ok();
            Ok(DirectUpload {
                staged,
                target: target.clone(),
                files: Arc::new(Files { direct, ordinary }),
                end: 0,
                is_finished: false,
            })
        };
        begin().map_err(refused)
    }
}

#[async_trait]
impl MultipartUpload for DirectUpload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        let (files, start) = (self.files.clone(), self.end);
        self.end += part.content_length() as u64;
        Box::pin(async move { blocking(move || files.write(start, &part)).await })
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let (files, staged, target) = (self.files.clone(), self.staged.clone(), self.target.clone());
        blocking(move || {
            files.ordinary.sync_all()?;
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

impl Drop for DirectUpload {
    fn drop(&mut self) {
        if !self.is_finished {
            // Gone already if only making it durable has failed.
            let _ = fs::remove_file(&self.staged);
        }
    }
}

impl Files {
    fn write(&self, start: u64, part: &PutPayload) -> io::Result<()> {
        let bytes = part.content_length();
        let is_aligned = bytes.is_multiple_of(ALIGNMENT) && start.is_multiple_of(ALIGNMENT as u64);
        let mut memory = vec![0; bytes + ALIGNMENT];
        let first = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        let content = &mut memory[first..first + bytes];
        let mut rest = &mut *content;
        for piece in part {
            let (now, later) = rest.split_at_mut(piece.len());
            now.copy_from_slice(piece);
            rest = later;
        }
        match &self.direct {
            Some(direct) if is_aligned => match direct.write_all_at(content, start) {
                // Some file systems say only now that they cannot.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.ordinary.write_all_at(content, start),
                result => result,
            },
            _ => self.ordinary.write_all_at(content, start),
        }
    }
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

/// A new file beside `target`, called as the local store calls what is not finished: `name#1`.
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

/// Makes `folder` and what is missing above it, durably.
fn create_folders(folder: &FilePath) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().unwrap_or(FilePath::new("/"));
    create_folders(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        // Another process may have been as fast, and may end before it has made it durable.
        _ => sync_folder(above),
    }
}

fn sync_folder(folder: &FilePath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::RUNTIME;
    use super::*;

    fn names(folder: &FilePath) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn write(upload: &mut DirectUpload, content: &[u8], part_bytes: usize) {
        // The last ones first: they know their places.
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
            let mut upload = DirectUpload::begin(target.clone()).unwrap();
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
        let begin = || DirectUpload::begin(target.clone()).unwrap();
        let (mut dropped, mut finished) = (begin(), begin());
        write(&mut dropped, b"dropped", 10);
        write(&mut finished, b"finished", 10);
        assert_eq!(names(dir.path()), ["file#1", "file#2"]);
        RUNTIME.block_on(finished.complete()).unwrap();
        drop(dropped);
        assert_eq!((names(dir.path()), fs::read(&target).unwrap()), (vec!["file".to_owned()], b"finished".to_vec()));
    }
}
