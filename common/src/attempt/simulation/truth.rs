//! The simulated store without delays, staleness, or a claimant in between.

use std::time::Duration;

use bytes::Bytes;

use super::super::process::ProcessId;
use super::super::surroundings::{Surroundings, blocking};
use super::world::Shared;
use crate::checkpoint_layout::{CHECKPOINTS_FOLDER, CheckpointName};
use crate::checkpoint_store::{Found, list_in};
use crate::storage::{ObjectInfo, StorageError};

type Result<T> = std::result::Result<T, StorageError>;

impl Shared {
    /// Returns the store as it is.
    pub fn truth(&self) -> Truth {
        Truth(self.clone())
    }
}

/// The store as it is at this moment.
pub struct Truth(pub(super) Shared);

impl Truth {
    pub fn get(&self, name: &str) -> Option<Bytes> {
        self.0.0.borrow().objects.get(name).cloned()
    }

    /// Returns the checkpoints that count, oldest first.
    pub fn counting(&self) -> Vec<CheckpointName> {
        let found = blocking(list_in(self)).expect("the truth is always known");
        let is_whole = |name: &CheckpointName| self.get(&format!("{CHECKPOINTS_FOLDER}/{name}/model")).is_some();
        found.into_iter().filter(Found::counts).map(|found| found.name).filter(is_whole).collect()
    }

    /// Returns the newest checkpoint that counts.
    pub fn newest(&self) -> Option<CheckpointName> {
        self.counting().pop()
    }
}

impl Surroundings for Truth {
    fn url(&self) -> &str {
        "simulated"
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>> {
        let (world, prefix) = (self.0.0.borrow(), format!("{folder}/"));
        let names = world.objects.range(prefix.clone()..).map(|(name, _)| name);
        let names = names.take_while(|name| name.starts_with(&prefix));
        Ok(names.map(|name| info(name[prefix.len()..].to_owned())).collect())
    }

    async fn read(&self, name: &str) -> Result<Option<Bytes>> {
        Ok(self.get(name))
    }

    async fn exists(&self, name: &str) -> Result<bool> {
        Ok(self.get(name).is_some())
    }

    async fn create(&self, _: &str, _: Bytes) -> Result<()> {
        unreachable!("the truth is only looked at")
    }

    async fn put(&self, _: &str, _: Bytes) -> Result<()> {
        unreachable!("the truth is only looked at")
    }

    async fn delete(&self, _: &str) -> Result<()> {
        unreachable!("the truth is only looked at")
    }

    async fn delete_all(&self, _: &str) -> Result<()> {
        unreachable!("the truth is only looked at")
    }

    fn now(&self) -> Duration {
        self.0.0.borrow().now
    }

    fn unix_s(&self) -> u64 {
        self.now().as_secs()
    }

    async fn sleep(&self, _: Duration) {}

    fn random_hex(&self) -> String {
        unreachable!("the truth is only looked at")
    }

    fn process(&self) -> Option<ProcessId> {
        None
    }

    fn is_gone(&self, _: &ProcessId) -> bool {
        false
    }
}

pub(super) fn info(name: String) -> ObjectInfo {
    ObjectInfo { name, bytes: 1, version: String::new(), changed_unix_s: 0 }
}
