//! What the protocol of attempts needs from outside: requests to a run folder, and time. In production a [`Folder`] and
//! the system's clocks, where every operation blocks; in the simulation a store and clocks that a seed decides.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;

use super::process::ProcessId;
use crate::storage::{Folder, ObjectInfo, StorageError};

/// Objects of the protocol that are larger are not read: a claim takes a few hundred bytes.
const SMALL_BYTES_MAX: u64 = 1 << 20;

type Result<T> = std::result::Result<T, StorageError>;

/// One process's way to a run folder, and its clocks. Names are relative to the run folder.
pub(crate) trait Surroundings {
    /// The run folder, for messages.
    fn url(&self) -> &str;
    /// All objects in `folder`. A listing may be behind, so nothing is decided by one alone.
    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>>;
    /// A small object; `None` where there is none, and empty where it is too large to be one of the protocol's.
    async fn read(&self, name: &str) -> Result<Option<Bytes>>;
    /// Whether an object is there.
    async fn exists(&self, name: &str) -> Result<bool>;
    /// Writes an object that must not exist yet.
    async fn create(&self, name: &str, content: Bytes) -> Result<()>;
    /// Writes an object, replacing what is there.
    async fn put(&self, name: &str, content: Bytes) -> Result<()>;
    /// Removes an object, for good whatever happens to the machine.
    async fn delete(&self, name: &str) -> Result<()>;
    /// Removes all objects of `folder`.
    async fn delete_all(&self, folder: &str) -> Result<()>;
    /// Whether `folder` lies elsewhere, and a link leads to it.
    fn is_linked(&self, _folder: &str) -> bool {
        false
    }
    /// Time since a fixed moment, on a clock that nobody sets.
    fn now(&self) -> Duration;
    /// Seconds since 1970, by a clock that may be wrong: for people.
    fn unix_s(&self) -> u64;
    /// Does nothing for this long.
    async fn sleep(&self, duration: Duration);
    /// 64 random bits in hex.
    fn random_hex(&self) -> String;
    /// This process.
    fn process(&self) -> Option<ProcessId>;
    /// Whether `process` is known to have ended.
    fn is_gone(&self, process: &ProcessId) -> bool;
}

/// When this process first looked at its clock.
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

/// The result of a part of the protocol in a [`Folder`], whose operations block and never wait.
pub(crate) fn blocking<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().unwrap_or_else(|| unreachable!("operations on a folder block"))
}
