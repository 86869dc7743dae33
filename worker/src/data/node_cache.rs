//! The node cache: blocks on a local disk, shared by the ranks of a node.
//!
//! A block's file is called by its SHA-256, so what is there is right or recognised as wrong, whoever wrote it, for whichever
//! run. A file appears whole, by renaming; of several processes that want the same block one fetches it, and the others wait
//! for the lock that it holds, which ends with the process.
//!
//! The folder never holds more than it may, however many processes add to it: they keep one account of its bytes, in a
//! file that one of them at a time has locked. A block is entered before it is written, with the files used longest ago
//! removed to make room. A process that is killed leaves the account too high at most, until it is next made up anew.
//! Nobody but this user can write there.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use common::sha256::Sha256Sum;
use common::token_shard::BLOCK_BYTES;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::own_folder;

/// Files that are kept open, at most. One that is removed meanwhile takes its room on the disk until it is closed, so in a
/// small folder there are fewer.
const OPEN_MAX: u64 = 256;
/// When room is made, this part of what the folder may hold becomes free: looking through it takes a while.
const FREE_PART: u64 = 16;
/// The name of the account: the bytes of all blocks, finished or not, as a little-endian u64.
const ACCOUNT: &str = "bytes";
/// The end of the name of a file that is not finished.
const UNFINISHED: &str = "part";

/// A folder of blocks.
#[derive(Debug)]
pub(super) struct NodeCache {
    folder: PathBuf,
    capacity_bytes: u64,
    open_max: usize,
    open: Mutex<HashMap<Sha256Sum, Arc<File>>>,
}

impl NodeCache {
    /// The cache in `folder`, which is made where it is missing, and may hold `capacity_bytes`. A folder that another user owns or
    /// can write is refused.
    pub fn open(folder: &Path, capacity_bytes: u64) -> io::Result<Self> {
        own_folder::make(folder)?;
        let open_max = (capacity_bytes / FREE_PART / BLOCK_BYTES).clamp(1, OPEN_MAX) as usize;
        let cache = NodeCache { folder: folder.to_owned(), capacity_bytes, open_max, open: Mutex::default() };
        // Whoever used the folder before may have been allowed more, or been killed.
        let mut account = cache.account()?;
        account.set(cache.make_room(0)?)?;
        Ok(cache)
    }

    /// The block with the hash `hash`: from the folder, or as `fetch` gets it, which is then kept. A disk that fails is
    /// no reason not to have the block.
    pub fn get<E>(&self, hash: Sha256Sum, fetch: impl FnOnce() -> Result<Bytes, E>) -> Result<Bytes, E> {
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

    /// Shows this range of a block that was got before; false if it is not there any more.
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
        let name = hash.to_string();
        self.folder.join(&name[..2]).join(name)
    }

    /// The whole block, if it is there and right.
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
            // Whoever held the lock may have renamed the file, which is then the block itself.
            if is_at(&file, &path) {
                return Ok(file);
            }
            if self.path(hash).exists() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
        }
    }

    fn write(&self, hash: Sha256Sum, mut file: File, content: &[u8]) -> io::Result<()> {
        if !self.enter(&file, content.len() as u64)? {
            return fs::remove_file(self.path(hash).with_extension(UNFINISHED));
        }
        file.rewind()?;
        file.write_all(content)?;
        fs::rename(self.path(hash).with_extension(UNFINISHED), self.path(hash))
    }

    /// Enters an unfinished file of `bytes` into the account, and gives it that size; false if there is no room for it.
    fn enter(&self, unfinished: &File, bytes: u64) -> io::Result<bool> {
        let mut account = self.account()?;
        let mut held = account.get()?;
        if held.saturating_add(bytes) > self.capacity_bytes {
            held = self.make_room(bytes)?;
        }
        let fits = held.saturating_add(bytes) <= self.capacity_bytes;
        if fits {
            unfinished.set_len(bytes)?;
            held += bytes;
        }
        account.set(held)?;
        Ok(fits)
    }

    /// The account, once no other thread or process has it.
    fn account(&self) -> io::Result<Account> {
        let path = self.folder.join(ACCOUNT);
        let file = own_file().read(true).open(path)?;
        file.lock()?;
        Ok(Account(file))
    }

    /// The open file of a block, which counts as used now.
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

    /// Removes the blocks used longest ago, where they must go for `wanted` more bytes, and a little more than that.
    /// Returns the bytes that are left. Only for who has the account. What is not called as a block is not the cache's, nor is
    /// what lies behind a link.
    fn make_room(&self, wanted: u64) -> io::Result<u64> {
        let mut files = Vec::new();
        for folder in fs::read_dir(&self.folder)?.flatten().filter(|f| f.file_type().is_ok_and(|kind| kind.is_dir())) {
            for file in
                fs::read_dir(folder.path()).into_iter().flatten().flatten().filter(|file| is_block(&file.path()))
            {
                if let Ok(metadata) = file.metadata() {
                    files.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), file.path()));
                }
            }
        }
        // Files may be of any size if others made them.
        let mut bytes: u128 = files.iter().map(|(_, bytes, _)| u128::from(*bytes)).sum();
        let (wanted, capacity) = (u128::from(wanted), u128::from(self.capacity_bytes));
        files.sort();
        let goal = if bytes + wanted <= capacity { capacity } else { capacity - capacity / u128::from(FREE_PART) };
        for (_, file_bytes, path) in files {
            if bytes + wanted <= goal {
                break;
            }
            // One that another process has open stays readable there.
            if !is_being_written(&path) && remove_block(&self.folder, &path).is_ok() {
                bytes -= u128::from(file_bytes);
            }
        }
        Ok(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    fn warn(&self, operation: &str, error: &io::Error) {
        if error.kind() != io::ErrorKind::AlreadyExists {
            tracing::warn!("cannot {operation} a block in data.cache_dir, {}: {error}", self.folder.display());
        }
    }
}

/// Opens a block, which is a file of its size at most: whoever can write to the folder may have put anything in its place.
fn open_block(path: &Path) -> io::Result<File> {
    // Without waiting for the other end of a pipe.
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    match metadata.is_file() && metadata.len() <= BLOCK_BYTES {
        true => Ok(file),
        false => Err(io::Error::other(format!("{} is not a block", path.display()))),
    }
}

/// The bytes that are in the folder, locked until this is dropped.
struct Account(File);

impl Account {
    /// So much that room must be made where nobody has written it yet.
    fn get(&self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        match self.0.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(u64::from_le_bytes(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(u64::MAX / 2),
            Err(error) => Err(error),
        }
    }

    fn set(&mut self, bytes: u64) -> io::Result<()> {
        self.0.write_all_at(&bytes.to_le_bytes(), 0)
    }
}

/// How a file of the cache's is opened to be written: one that somebody has made a link to another would be written there.
fn own_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).custom_flags(libc::O_NOFOLLOW);
    options
}

/// Whether `path` is where the cache keeps a block, finished or not: `aa/` and a SHA-256 that begins so.
fn is_block(path: &Path) -> bool {
    let is_unfinished = path.extension().is_some_and(|end| end == UNFINISHED);
    let name = if is_unfinished { path.file_stem() } else { path.file_name() };
    let folder = path.parent().and_then(Path::file_name).and_then(OsStr::to_str);
    name.and_then(OsStr::to_str).is_some_and(|hash| {
        let is_hash = hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_hash && folder == hash.get(..2)
    })
}

/// Removes a block's file from the cache in `cache`: an entry of a folder that is no link, whatever it is by now.
fn remove_block(cache: &Path, path: &Path) -> io::Result<()> {
    let (folder, name) =
        path.parent().and_then(Path::file_name).zip(path.file_name()).ok_or(io::ErrorKind::NotFound)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let folder = openat(File::open(cache)?, folder, flags, Mode::empty())?;
    Ok(unlinkat(folder, name, UnlinkatFlags::NoRemoveDir)?)
}

/// Whether somebody holds the lock of an unfinished file; one that was left by a process that is gone has none.
fn is_being_written(path: &Path) -> bool {
    let is_unfinished = path.extension().is_some_and(|end| end == UNFINISHED);
    is_unfinished && File::open(path).is_ok_and(|file| file.try_lock().is_err())
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
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn block(number: u8) -> (Sha256Sum, Bytes) {
        let content = Bytes::from(vec![number; 1000]);
        (Sha256Sum::of(&content), content)
    }

    fn never() -> Result<Bytes, Infallible> {
        panic!("it should be there")
    }

    #[test]
    fn what_was_fetched_once_is_there_for_all_and_damage_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = [(); 2].map(|()| NodeCache::open(dir.path(), 1 << 20).unwrap());
        let (hash, content) = block(7);
        assert_eq!(one.get(hash, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
        assert_eq!(two.get(hash, never).unwrap(), content);
        let mut shown = Vec::new();
        assert!(two.show(hash, 3..5, |bytes| shown.extend_from_slice(bytes)));
        assert!(two.show(hash, 999..1000, |bytes| shown.extend_from_slice(bytes)));
        assert_eq!(shown, [7; 3]);
        assert!(!two.show(hash, 0..1001, |_| panic!("there is no more")));
        assert!(!two.show(block(8).0, 0..1, |_| panic!("it was never there")));
        fs::write(one.path(hash), b"something else").unwrap();
        assert_eq!(one.get(hash, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
        assert_eq!(two.get(hash, never).unwrap(), content);
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
                    assert_eq!(cache.get(hash, fetch).unwrap(), content);
                });
            }
        });
        assert_eq!(fetches.into_inner(), 1);
        let names: Vec<_> =
            fs::read_dir(dir.path().join(&hash.to_string()[..2])).unwrap().map(|f| f.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| name.to_str() == Some(&hash.to_string())), "{names:?}");
    }

    #[test]
    fn a_fetch_that_fails_leaves_the_block_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let cache = NodeCache::open(dir.path(), 1 << 20).unwrap();
        let (hash, content) = block(1);
        assert_eq!(cache.get(hash, || Err::<Bytes, _>("away")), Err("away"));
        assert_eq!(cache.get(hash, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
    }

    #[test]
    fn the_folder_stays_within_its_bound_and_keeps_what_was_used_last() {
        let dir = tempfile::tempdir().unwrap();
        let cache = NodeCache::open(dir.path(), 20_000).unwrap();
        let put = |number: u8| {
            let (hash, content) = block(number);
            cache.get(hash, || Ok::<_, Infallible>(content)).unwrap();
            // The clock of files may be coarse.
            let age = Duration::from_secs(1000 - u64::from(number));
            let file = OpenOptions::new().write(true).open(cache.path(hash));
            let _ = file.map(|file| file.set_modified(SystemTime::now() - age));
        };
        (0..15).for_each(put);
        cache.file(block(0).0).unwrap();
        (15..60).for_each(put);
        let there = |number: u8| cache.path(block(number).0).exists();
        let kept = (0..60).filter(|number| there(*number)).count();
        assert!((10..=20).contains(&kept), "{kept}");
        assert!(there(0) && there(59) && !there(1));
    }

    /// The bytes of all files of blocks, finished or not, while nobody can enter one.
    fn held(cache: &NodeCache) -> u64 {
        let _account = cache.account().unwrap();
        let folders = fs::read_dir(&cache.folder).unwrap().map(|entry| entry.unwrap().path()).filter(|p| p.is_dir());
        let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()));
        // A file that gets its name at this moment may be listed under both.
        let sizes: HashMap<_, u64> =
            files.filter_map(|file| Some((file.path().file_stem()?.to_owned(), file.metadata().ok()?.len()))).collect();
        sizes.values().sum()
    }

    #[test]
    fn many_that_add_at_once_stay_within_the_bound_together() {
        let dir = tempfile::tempdir().unwrap();
        const CAPACITY: u64 = 16_000;
        let open = || NodeCache::open(dir.path(), CAPACITY).unwrap();
        let (cache, left) = (open(), AtomicUsize::new(8));
        std::thread::scope(|scope| {
            for writer in 0..8u8 {
                let left = &left;
                scope.spawn(move || {
                    let cache = open();
                    for number in (0..30).map(|i| writer.wrapping_mul(31).wrapping_add(i)) {
                        let (hash, content) = block(number);
                        assert_eq!(cache.get(hash, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
                        cache.show(hash, 0..1000, |bytes| assert_eq!(bytes, content));
                    }
                    left.fetch_sub(1, Ordering::SeqCst);
                });
            }
            while left.load(Ordering::SeqCst) > 0 {
                let held = held(&cache);
                assert!(held <= CAPACITY, "{held} bytes");
            }
        });
        let held = held(&cache);
        assert!(held > CAPACITY / 2 && cache.account().unwrap().get().unwrap() >= held, "{held} bytes");
    }

    #[test]
    fn what_a_killed_process_left_unfinished_goes_too() {
        let dir = tempfile::tempdir().unwrap();
        let cache = NodeCache::open(dir.path(), 4_000).unwrap();
        let (killed, content) = block(1);
        let file = cache.lock(killed).unwrap();
        assert!(cache.enter(&file, 1000).unwrap());
        let (path, put) = (cache.path(killed).with_extension(UNFINISHED), |number| {
            let (hash, content) = block(number);
            cache.get(hash, || Ok::<_, Infallible>(content)).unwrap();
        });
        (2..20).for_each(put);
        assert!(path.exists(), "it is still being written");
        drop(file);
        (20..40).for_each(put);
        assert!(!path.exists() && held(&cache) <= 4_000);
        // More than the folder may hold is not kept at all.
        let small = NodeCache::open(dir.path(), 900).unwrap();
        assert_eq!(held(&small), 0);
        assert_eq!(small.get(killed, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
        assert_eq!(held(&small), 0);
    }

    #[test]
    fn only_blocks_go_and_nothing_that_a_link_leads_to() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let victims = ["by-folder", "by-file", "by-part", "aa"].map(|name| outside.path().join(name));
        victims.iter().for_each(|victim| fs::write(victim, [7; 3000]).unwrap());
        let [in_linked, at_block, at_unfinished] = [1, 2, 3].map(|number| block(number).0.to_string());
        let there = outside.path().join(&in_linked);
        fs::write(&there, [7; 3000]).unwrap();
        let place = |hash: &str| dir.path().join(&hash[..2]).join(hash);
        std::os::unix::fs::symlink(outside.path(), dir.path().join(&in_linked[..2])).unwrap();
        for (victim, link) in
            [(&victims[1], place(&at_block)), (&victims[2], place(&at_unfinished).with_extension("part"))]
        {
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(victim, link).unwrap();
        }
        let of_others = ["letters/thesis.pdf", "aa/notes", "thesis.pdf"].map(|name| dir.path().join(name));
        for path in &of_others {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, [7; 3000]).unwrap();
        }
        let cache = NodeCache::open(dir.path(), 2_000).unwrap();
        for number in 0..20 {
            let (hash, content) = block(number);
            assert_eq!(cache.get(hash, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
        }
        for path in victims.iter().chain(&of_others).chain([&there]) {
            assert_eq!(fs::read(path).unwrap(), [7; 3000], "{}", path.display());
        }
    }

    #[test]
    fn what_is_no_block_is_not_read_and_no_number_on_the_disk_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = NodeCache::open(dir.path(), 10_000).unwrap();
        let blocks = [1, 2, 3, 4].map(block);
        for (hash, _) in &blocks {
            fs::create_dir_all(cache.path(*hash).parent().unwrap()).unwrap();
        }
        // Endless, with nobody at the other end, and larger than any disk.
        std::os::unix::fs::symlink("/dev/zero", cache.path(blocks[0].0)).unwrap();
        nix::unistd::mkfifo(&cache.path(blocks[1].0), Mode::S_IRWXU).unwrap();
        for (hash, _) in &blocks[2..] {
            File::create(cache.path(*hash)).unwrap().set_len(1 << 43).unwrap();
        }
        fs::write(dir.path().join(ACCOUNT), [0xff; 8]).unwrap();
        for _ in 0..2 {
            for (hash, content) in &blocks {
                assert_eq!(cache.get(*hash, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
            }
        }
    }

    #[test]
    fn a_damaged_block_is_not_shown_any_more_by_whoever_has_it_open() {
        let dir = tempfile::tempdir().unwrap();
        let cache = NodeCache::open(dir.path(), 1 << 20).unwrap();
        let (hash, content) = block(1);
        let get = || cache.get(hash, || Ok::<_, Infallible>(content.clone())).unwrap();
        get();
        assert!(cache.show(hash, 0..1, |_| ()));
        let mut old = OpenOptions::new().write(true).open(cache.path(hash)).unwrap();
        old.write_all(&[9]).unwrap();
        get();
        old.write_all(&[9]).unwrap();
        assert!(cache.show(hash, 0..2, |bytes| assert_eq!(bytes, [1, 1])));
    }

    #[test]
    fn a_disk_that_refuses_does_not_stop_anybody() {
        let dir = tempfile::tempdir().unwrap();
        let cache = NodeCache::open(dir.path(), 1 << 20).unwrap();
        let (hash, content) = block(1);
        // Where its folder should be, there is a file.
        fs::write(dir.path().join(&hash.to_string()[..2]), b"").unwrap();
        assert_eq!(cache.get(hash, || Ok::<_, Infallible>(content.clone())).unwrap(), content);
        assert!(!cache.show(hash, 0..1, |_| ()));
    }
}
