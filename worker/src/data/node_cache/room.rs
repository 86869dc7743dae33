//! Room in the folder: an account of its bytes, which one process at a time locks, and the removal of blocks when
//! room is short.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::SystemTime;

use super::files::{is_being_written, is_block, own_file, remove_block};

/// Making room frees the folder's capacity divided by this number, because looking through the folder takes a while.
pub const FREE_PART: u64 = 16;
/// Name of the account's file, which holds the bytes of all blocks, finished or not, as a little-endian u64.
pub const ACCOUNT: &str = "bytes";

/// Room of a folder with a limit on its bytes.
#[derive(Debug)]
pub struct Room {
    folder: PathBuf,
    capacity_bytes: u64,
}

impl Room {
    /// Creates the room of `folder`, which may hold `capacity_bytes`. Computes its account anew: an earlier process
    /// may have had a larger limit, or been killed.
    pub fn of(folder: PathBuf, capacity_bytes: u64) -> io::Result<Self> {
        let room = Room { folder, capacity_bytes };
        let mut account = room.account()?;
        account.set(room.make_room(0)?)?;
        Ok(room)
    }

    /// Enters an unfinished file of `bytes` into the account, and gives it that size. Returns false if there is no
    /// room for it.
    pub fn enter(&self, unfinished: &File, bytes: u64) -> io::Result<bool> {
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

    /// Locks the account, once no other thread or process holds it.
    pub fn account(&self) -> io::Result<Account> {
        let path = self.folder.join(ACCOUNT);
        let file = own_file().read(true).open(path)?;
        file.lock()?;
        Ok(Account(file))
    }

    /// Removes the blocks used longest ago if `wanted` more bytes do not fit, and then some more. Returns the bytes
    /// that are left. The caller must hold the account. Files whose names are not a block's are left alone, and so is
    /// everything behind a link.
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
        // Files made by others may have any size.
        let mut bytes: u128 = files.iter().map(|(_, bytes, _)| u128::from(*bytes)).sum();
        let (wanted, capacity) = (u128::from(wanted), u128::from(self.capacity_bytes));
        files.sort();
        let goal = if bytes + wanted <= capacity { capacity } else { capacity - capacity / u128::from(FREE_PART) };
        for (_, file_bytes, path) in files {
            if bytes + wanted <= goal {
                break;
            }
            // A removed file stays readable for a process that has it open.
            if !is_being_written(&path) && remove_block(&self.folder, &path).is_ok() {
                bytes -= u128::from(file_bytes);
            }
        }
        Ok(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

/// The account of the folder's bytes, locked until this is dropped.
pub struct Account(File);

impl Account {
    /// Returns the bytes in the folder. If nothing has been written yet, the number is so large that room must be
    /// made.
    pub fn get(&self) -> io::Result<u64> {
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
