//! The node cache: blocks on a local disk, shared by the ranks of a node.
//!
//! A block's file is called by its SHA-256, so what is there is right or recognised as wrong, whoever wrote it, for whichever
//! run. A file appears whole, by renaming; of several processes that want the same block one fetches it, and the others wait
//! for the lock that it holds, which ends with the process. The files used longest ago are removed when there are too many.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use common::token_shard::hex_sha256;

/// Files that are kept open.
const OPEN_MAX: usize = 256;
/// The folder is looked through when this part of what it may hold has been added.
const LOOK_PART: u64 = 16;
/// The end of the name of a file that is not finished.
const UNFINISHED: &str = "part";

/// A folder of blocks.
#[derive(Debug)]
pub(super) struct NodeCache {
    folder: PathBuf,
    capacity_bytes: u64,
    /// Added by this process since it last looked through the folder.
    added_bytes: AtomicU64,
    open: Mutex<HashMap<String, Arc<File>>>,
}

impl NodeCache {
    /// The cache in `folder`, which is made where it is missing, and may hold `capacity_bytes`.
    pub fn open(folder: &Path, capacity_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let cache = NodeCache {
            folder: folder.to_owned(),
            capacity_bytes,
            added_bytes: AtomicU64::new(0),
            open: Mutex::default(),
        };
        cache.make_room()?;
        Ok(cache)
    }

    /// The block with the hash `hash`: from the folder, or as `fetch` gets it, which is then kept. A disk that fails is
    /// no reason not to have the block.
    pub fn get<E>(&self, hash: &str, fetch: impl FnOnce() -> Result<Bytes, E>) -> Result<Bytes, E> {
        if let Some(content) = self.read(hash) {
            return Ok(content);
        }
        let locked = self.lock(hash).map_err(|error| self.warn("lock", &error));
        // Another process may have been faster.
        if let Some(content) = self.read(hash) {
            return Ok(content);
        }
        let content = fetch()?;
        if let Ok(file) = locked {
            let _ = self.write(hash, file, &content).map_err(|error| self.warn("write", &error));
        }
        Ok(content)
    }

    /// Shows these ranges of a block that was got before; false if it is not there any more.
    pub fn show(&self, hash: &str, ranges: &[Range<usize>], mut show: impl FnMut(usize, &[u8])) -> bool {
        let Ok(file) = self.file(hash) else { return false };
        let mut buffer = Vec::new();
        // All or nothing: what was shown cannot be taken back, so the file must be long enough.
        let longest = ranges.iter().map(|range| range.end as u64).max().unwrap_or(0);
        if file.metadata().map_or(0, |metadata| metadata.len()) < longest {
            return false;
        }
        for (i, range) in ranges.iter().enumerate() {
            buffer.resize(range.len(), 0);
            if file.read_exact_at(&mut buffer, range.start as u64).is_err() {
                return false;
            }
            show(i, &buffer);
        }
        true
    }

    fn path(&self, hash: &str) -> PathBuf {
        self.folder.join(hash.get(..2).unwrap_or("00")).join(hash)
    }

    /// The whole block, if it is there and right.
    fn read(&self, hash: &str) -> Option<Bytes> {
        let content = fs::read(self.path(hash)).ok()?;
        if hex_sha256(&content) == hash {
            return Some(content.into());
        }
        tracing::warn!("{} is damaged and is fetched again", self.path(hash).display());
        let _ = fs::remove_file(self.path(hash));
        None
    }

    /// Waits until this process may fetch the block, and returns the file to write it to.
    fn lock(&self, hash: &str) -> io::Result<File> {
        let path = self.path(hash).with_extension(UNFINISHED);
        fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
        loop {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
            file.lock()?;
            // Whoever held the lock may have renamed the file, which is then the block itself.
            if is_at(&file, &path) {
                return Ok(file);
            }
            if self.path(hash).exists() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
        }
    }

    fn write(&self, hash: &str, mut file: File, content: &[u8]) -> io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(content)?;
        fs::rename(self.path(hash).with_extension(UNFINISHED), self.path(hash))?;
        let added = self.added_bytes.fetch_add(content.len() as u64, Ordering::Relaxed) + content.len() as u64;
        if added * LOOK_PART > self.capacity_bytes { self.make_room() } else { Ok(()) }
    }

    /// The open file of a block; opening counts as use.
    fn file(&self, hash: &str) -> io::Result<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(hash) {
            return Ok(file.clone());
        }
        let file = File::open(self.path(hash))?;
        let _ = file.set_modified(SystemTime::now());
        if open.len() >= OPEN_MAX {
            open.clear();
        }
        let file = Arc::new(file);
        open.insert(hash.to_owned(), file.clone());
        Ok(file)
    }

    /// Removes the files used longest ago, until a little less is there than may be.
    fn make_room(&self) -> io::Result<()> {
        self.added_bytes.store(0, Ordering::Relaxed);
        let mut files = Vec::new();
        for folder in fs::read_dir(&self.folder)?.flatten().filter(|f| f.file_type().is_ok_and(|kind| kind.is_dir())) {
            for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                if let Ok(metadata) = file.metadata() {
                    files.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), file.path()));
                }
            }
        }
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        files.sort();
        for (_, file_bytes, path) in files {
            if bytes + self.capacity_bytes / LOOK_PART <= self.capacity_bytes {
                break;
            }
            // One that another process has removed is gone all the same, and one that is open stays readable there.
            let _ = fs::remove_file(path);
            bytes -= file_bytes;
        }
        Ok(())
    }

    fn warn(&self, operation: &str, error: &io::Error) {
        if error.kind() != io::ErrorKind::AlreadyExists {
            tracing::warn!("cannot {operation} a block in data.cache_dir, {}: {error}", self.folder.display());
        }
    }
}

/// Whether `file` is what is called `path` now.
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let at_path = fs::metadata(path).map(identity);
    matches!((file.metadata().map(identity), at_path), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    fn block(number: u8) -> (String, Bytes) {
        let content = Bytes::from(vec![number; 1000]);
        (hex_sha256(&content), content)
    }

    fn never() -> Result<Bytes, Infallible> {
        panic!("it should be there")
    }

    #[test]
    fn what_was_fetched_once_is_there_for_all_and_damage_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = [(); 2].map(|()| NodeCache::open(dir.path(), 1 << 20).unwrap());
        let (hash, content) = block(7);
        assert_eq!(one.get(&hash, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
        assert_eq!(two.get(&hash, never).unwrap(), content);
        let mut shown = Vec::new();
        assert!(two.show(&hash, &[3..5, 999..1000], |i, bytes| shown.push((i, bytes.to_vec()))));
        assert_eq!(shown, [(0, vec![7; 2]), (1, vec![7])]);
        assert!(!two.show(&hash, std::slice::from_ref(&(0..1001)), |_, _| panic!("there is no more")));
        assert!(!two.show(&block(8).0, std::slice::from_ref(&(0..1)), |_, _| panic!("it was never there")));
        fs::write(one.path(&hash), b"something else").unwrap();
        assert_eq!(one.get(&hash, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
        assert_eq!(two.get(&hash, never).unwrap(), content);
    }

    #[test]
    fn of_many_at_once_one_fetches() {
        let dir = tempfile::tempdir().unwrap();
        let (hash, content) = block(1);
        let fetches = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    // Each as if it were a process: locks are of open files.
                    let cache = NodeCache::open(dir.path(), 1 << 20).unwrap();
                    let fetch = || {
                        fetches.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(20));
                        Ok::<_, Infallible>(content.clone())
                    };
                    assert_eq!(cache.get(&hash, fetch).unwrap(), content);
                });
            }
        });
        assert_eq!(fetches.into_inner(), 1);
        let names: Vec<_> =
            fs::read_dir(dir.path().join(&hash[..2])).unwrap().map(|f| f.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| name.to_str() == Some(&hash)), "{names:?}");
    }

    #[test]
    fn a_fetch_that_fails_leaves_the_block_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let cache = NodeCache::open(dir.path(), 1 << 20).unwrap();
        let (hash, content) = block(1);
        assert_eq!(cache.get(&hash, || Err::<Bytes, _>("away")), Err("away"));
        assert_eq!(cache.get(&hash, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
    }

    #[test]
    fn the_folder_stays_within_its_bound_and_keeps_what_was_used_last() {
        let dir = tempfile::tempdir().unwrap();
        let cache = NodeCache::open(dir.path(), 20_000).unwrap();
        let put = |number: u8| {
            let (hash, content) = block(number);
            cache.get(&hash, || Ok::<_, Infallible>(content)).unwrap();
            // The clock of files may be coarse.
            let age = Duration::from_secs(1000 - u64::from(number));
            let file = OpenOptions::new().write(true).open(cache.path(&hash));
            let _ = file.map(|file| file.set_modified(SystemTime::now() - age));
        };
        (0..15).for_each(put);
        cache.file(&block(0).0).unwrap();
        (15..60).for_each(put);
        let there = |number: u8| cache.path(&block(number).0).exists();
        let kept = (0..60).filter(|number| there(*number)).count();
        assert!((10..=20).contains(&kept), "{kept}");
        assert!(there(0) && there(59) && !there(1));
    }

    #[test]
    fn a_disk_that_refuses_does_not_stop_anybody() {
        let dir = tempfile::tempdir().unwrap();
        let cache = NodeCache::open(dir.path(), 1 << 20).unwrap();
        let (hash, content) = block(1);
        // Where its folder should be, there is a file.
        fs::write(dir.path().join(&hash[..2]), b"").unwrap();
        assert_eq!(cache.get(&hash, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
        assert!(!cache.show(&hash, std::slice::from_ref(&(0..1)), |_, _| ()));
    }
}
