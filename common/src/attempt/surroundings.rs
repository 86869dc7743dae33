//! What the protocol of attempts needs from outside: requests to a run folder, and time. In production these are a
//! [`Folder`], whose operations block, and the system's clocks. In the simulation a seed decides both.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;

use super::process::ProcessId;
use crate::storage::{Folder, ObjectInfo, StorageError};

/// Size above which objects of the protocol are not read, in bytes. A claim takes a few hundred.
const SMALL_BYTES_MAX: u64 = 1 << 20;

type Result<T> = std::result::Result<T, StorageError>;

/// Access of one process to a run folder, and its clocks. Names are relative to the run folder.
pub(crate) trait Surroundings {
    /// Returns the URL of the run folder, for messages.
    fn url(&self) -> &str;
    /// Lists all objects in `folder`. A listing may be stale, so nothing is decided by one alone.
    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>>;
    /// Reads a small object. Returns `None` if it does not exist, and empty bytes if it is too large for the protocol.
    async fn read(&self, name: &str) -> Result<Option<Bytes>>;
    /// Returns whether an object exists.
    async fn exists(&self, name: &str) -> Result<bool>;
    /// Writes an object that must not exist yet.
    async fn create(&self, name: &str, content: Bytes) -> Result<()>;
    /// Writes an object, replacing any that exists.
    async fn put(&self, name: &str, content: Bytes) -> Result<()>;
    /// Removes an object durably.
    async fn delete(&self, name: &str) -> Result<()>;
    /// Removes all objects in `folder`.
    async fn delete_all(&self, folder: &str) -> Result<()>;
    /// Returns whether `folder` is a link to another place.
    fn is_linked(&self, _folder: &str) -> bool {
        false
    }
    /// Returns the time since a fixed moment, on a monotonic clock.
    fn now(&self) -> Duration;
    /// Returns the seconds since 1970, by a clock that may be wrong. Only for people.
    fn unix_s(&self) -> u64;
    /// Waits for `duration`.
    async fn sleep(&self, duration: Duration);
    /// Returns 64 random bits in hexadecimal.
    fn random_hex(&self) -> String;
    /// Returns the identity of this process.
    fn process(&self) -> Option<ProcessId>;
    /// Returns whether `process` is known to have ended.
    fn is_gone(&self, process: &ProcessId) -> bool;
}

/// Time at which this process first used its clock.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Surroundings for Folder {
    fn url(&self) -> &str {
        Folder::url(self)
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>> {
        self.folder(folder).list()
    }

    async fn read(&self, name: &str) -> Result<Option<Bytes>> {
        self.get_small(name, SMALL_BYTES_MAX)
    }

    async fn exists(&self, name: &str) -> Result<bool> {
        Folder::exists(self, name)
    }

    async fn create(&self, name: &str, content: Bytes) -> Result<()> {
        Folder::create(self, name, content)
    }

    async fn put(&self, name: &str, content: Bytes) -> Result<()> {
        Folder::put(self, name, content)
    }

    async fn delete(&self, name: &str) -> Result<()> {
        Folder::delete(self, name)?;
        if let Some((folder, _)) = name.rsplit_once('/') {
            self.folder(folder).make_deletions_durable();
        }
        Ok(())
    }

    async fn delete_all(&self, folder: &str) -> Result<()> {
        self.folder(folder).delete_all()
    }

    fn is_linked(&self, folder: &str) -> bool {
        self.folder(folder).refuse_links().is_err()
    }

    fn now(&self) -> Duration {
        START.elapsed()
    }

    fn unix_s(&self) -> u64 {
        crate::clock::unix_s()
    }

    async fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn random_hex(&self) -> String {
        crate::random::random_hex()
    }

    fn process(&self) -> Option<ProcessId> {
        ProcessId::of_this()
    }

    fn is_gone(&self, process: &ProcessId) -> bool {
        process.is_gone()
    }
}

/// Returns the result of a part of the protocol in a [`Folder`], whose operations block and never wait.
pub(crate) fn blocking<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().unwrap_or_else(|| unreachable!("operations on a folder block"))
}
