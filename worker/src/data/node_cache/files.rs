//! Files of the node cache: their names, and how they are opened and removed although others may have put anything in
//! their place.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use common::sha256::Sha256Sum;
use common::token_shard::BLOCK_BYTES;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Extension of a file that is not finished.
pub const UNFINISHED: &str = "part";

/// Returns the path of a finished block in the folder `cache`.
pub fn path_of(cache: &Path, hash: Sha256Sum) -> PathBuf {
    let name = hash.to_string();
    cache.join(&name[..2]).join(name)
}

/// Opens a block. Fails unless it is a file of at most a block's size: others who can write to the folder may have
/// put anything in its place.
pub fn open_block(path: &Path) -> io::Result<File> {
    // Does not wait for the other end of a pipe.
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    match metadata.is_file() && metadata.len() <= BLOCK_BYTES {
        true => Ok(file),
        false => Err(io::Error::other(format!("{} is not a block", path.display()))),
    }
}

/// Returns the options for writing a file of the cache. They do not follow a symbolic link, which would lead to a
/// file elsewhere.
pub fn own_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).custom_flags(libc::O_NOFOLLOW);
    options
}

/// Returns whether `path` is where the cache keeps a block, finished or not: `aa/` and a SHA-256 that begins with
/// `aa`.
pub fn is_block(path: &Path) -> bool {
    let is_unfinished = path.extension().is_some_and(|end| end == UNFINISHED);
    let name = if is_unfinished { path.file_stem() } else { path.file_name() };
    let folder = path.parent().and_then(Path::file_name).and_then(OsStr::to_str);
    name.and_then(OsStr::to_str).is_some_and(|hash| {
        let is_hash = hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_hash && folder == hash.get(..2)
    })
}

/// Removes a block's file from the folder `cache`: an entry of a subfolder that is no link, even if the entry is
/// another kind of file by now.
pub fn remove_block(cache: &Path, path: &Path) -> io::Result<()> {
    let (folder, name) =
        path.parent().and_then(Path::file_name).zip(path.file_name()).ok_or(io::ErrorKind::NotFound)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let folder = openat(File::open(cache)?, folder, flags, Mode::empty())?;
    Ok(unlinkat(folder, name, UnlinkatFlags::NoRemoveDir)?)
}

/// Returns whether a process holds the lock of an unfinished file. A file left by a process that is gone is not
/// locked.
pub fn is_being_written(path: &Path) -> bool {
    let is_unfinished = path.extension().is_some_and(|end| end == UNFINISHED);
    is_unfinished && File::open(path).is_ok_and(|file| file.try_lock().is_err())
}

/// Returns whether `path` still names `file`.
pub fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let at_path = fs::metadata(path).map(identity);
    matches!((file.metadata().map(identity), at_path), (Ok(one), Ok(other)) if one == other)
}
