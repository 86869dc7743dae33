//! Parts of a file on their way from the page cache to the disk.
//!
//! The kernel would begin to write them only when memory is short or half a minute has passed. Begun at once and waited for
//! one after the other, the disk is never idle, and few of them are in memory.

use std::fs::File;
use std::io;
use std::ops::Range;

/// Begins to write out a part of `file` that is in the page cache, and does not wait for it.
pub(super) fn begin(file: &File, part: &Range<u64>) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    sync_range(file, part, libc::SYNC_FILE_RANGE_WRITE)?;
    Ok(())
}

/// Waits until a part of `file` is written out, and drops it from the page cache, where it only costs memory. Nothing is
/// durable before the file as a whole is.
pub(super) fn end(file: &File, part: &Range<u64>) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
        let all = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        sync_range(file, part, all)?;
        let _ = posix_fadvise(
            file,
            part.start as i64,
            (part.end - part.start) as i64,
            PosixFadviseAdvice::POSIX_FADV_DONTNEED,
        );
        Ok(())
    }
    #[cfg(not(target_os = "linux"))]
    file.sync_data()
}

/// Calls `sync_file_range`, or makes the whole file durable where the system has no such call.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "asks the C library to write out a range of a file")]
fn sync_range(file: &File, part: &Range<u64>, flags: libc::c_uint) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let (start, length) = (part.start as i64, (part.end - part.start) as i64);
    // SAFETY: the call takes no memory, and the file is open.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), start, length, flags) } {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENOSYS) => file.sync_data(),
            error => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn parts_that_are_written_out_one_by_one_make_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = File::create(&path).unwrap();
        let content: Vec<u8> = (0..100_000_u32).map(|i| (i * 7) as u8).collect();
        let parts = [50_000..100_000, 0..50_000];
        for part in &parts {
            file.write_all_at(&content[part.start as usize..part.end as usize], part.start).unwrap();
            begin(&file, part).unwrap();
        }
        parts.iter().for_each(|part| end(&file, part).unwrap());
        assert!(std::fs::read(&path).unwrap() == content);
    }
}
