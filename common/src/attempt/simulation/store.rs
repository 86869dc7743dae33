//! The store of a simulation, as a claimant reaches it, an operation at a time, and as it truly is.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::super::Claim;
use super::super::holder::Alive;
use super::super::process::ProcessId;
use super::super::surroundings::{Surroundings, blocking};
use super::world::Shared;
use crate::checkpoint_layout::{CHECKPOINTS_FOLDER, CheckpointName, MANIFEST_NAME};
use crate::checkpoint_store::Found;
use crate::checkpoint_store::list_in;
use crate::storage::{ObjectInfo, StorageError};

type Result<T> = std::result::Result<T, StorageError>;

/// The way of one claimant to the store.
#[derive(Clone)]
pub struct Node {
    pub world: Shared,
    pub process: usize,
    /// What it holds, of whose claim it must have looked before it puts or deletes what counts.
    pub holds: Option<Claim>,
    /// Whether it has looked since.
    has_looked: Rc<Cell<bool>>,
}

/// Wakes its task after a time.
struct Wait {
    world: Shared,
    duration: Option<Duration>,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match self.duration.take() {
            None => Poll::Ready(()),
            Some(duration) => {
                let mut world = self.world.0.borrow_mut();
                world.wake = world.now + duration;
                Poll::Pending
            }
        }
    }
}

impl Node {
    pub fn new(world: &Shared, process: usize, holds: Option<Claim>) -> Self {
        Node { world: world.clone(), process, holds, has_looked: Rc::default() }
    }

    /// Before every commit, every deletion and every sign of life a holder looks at its claim.
    fn check_look(&self, name: &str) {
        assert!(self.has_looked.take() || self.holds.is_none(), "{name} without a look at the claim");
    }

    async fn pause(&self) {
        let duration = Some(self.world.0.borrow_mut().latency());
        Wait { world: self.world.clone(), duration }.await;
    }

    /// Carries `operation` out at some moment, and answers at a later one, or never.
    async fn operation<T>(&self, operation: impl FnOnce(&Truth) -> T) -> Result<T> {
        self.pause().await;
        let result = operation(&self.world.truth());
        self.pause().await;
        let is_lost = {
            let mut world = self.world.0.borrow_mut();
            !world.is_calm && world.random.one_in(300)
        };
        if is_lost {
            return Err(StorageError::Unreachable {
                url: "simulated".into(),
                operation: "do",
                deadline_s: 1,
                attempts: 1,
                reason: "the answer is lost".into(),
            });
        }
        Ok(result)
    }
}

impl Surroundings for Node {
    fn url(&self) -> &str {
        "simulated"
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>> {
        self.operation(|truth| {
            let names = truth.0.0.borrow_mut().listed(folder);
            names.into_iter().map(info).collect()
        })
        .await
    }

    async fn read(&self, name: &str) -> Result<Option<Bytes>> {
        if self.holds.as_ref().is_some_and(|mine| name.ends_with(&format!("/{:04}.json", mine.number))) {
            self.has_looked.set(true);
        }
        self.operation(|truth| {
            if name.ends_with(".alive") {
                truth.0.note_look(self.process);
            }
            truth.get(name)
        })
        .await
    }

    async fn exists(&self, name: &str) -> Result<bool> {
        self.operation(|truth| truth.get(name).is_some()).await
    }

    async fn create(&self, name: &str, content: Bytes) -> Result<()> {
        self.check_look(name);
        self.operation(|truth| match truth.get(name) {
            Some(there) if there != content => Err(StorageError::AlreadyExists { url: name.to_owned() }),
            _ => {
                truth.0.0.borrow_mut().insert(name, content);
                if let Some(name) = manifest_of(name) {
                    truth.0.note_commit(&name);
                }
                Ok(())
            }
        })
        .await?
    }

    async fn put(&self, name: &str, content: Bytes) -> Result<()> {
        if name.ends_with(".alive") {
            self.check_look(name);
        }
        self.operation(|truth| {
            if let Some(mine) = self.holds.as_ref().filter(|_| name.ends_with(".alive")) {
                let alive: Alive = serde_json::from_slice(&content).expect("a sign of life is JSON");
                truth.0.note_sign(mine, alive.has_ended);
            }
            truth.0.0.borrow_mut().insert(name, content);
        })
        .await
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.check_look(name);
        self.operation(|truth| {
            if let Some(checkpoint) = manifest_of(name).filter(|_| truth.get(name).is_some()) {
                truth.0.check_deletion(self.process, &checkpoint);
            }
            truth.0.0.borrow_mut().remove(name);
        })
        .await
    }

    async fn delete_all(&self, folder: &str) -> Result<()> {
        let objects = self.list(folder).await?;
        for object in objects {
            let name = format!("{folder}/{}", object.name);
            self.operation(|truth| truth.0.0.borrow_mut().remove(&name)).await?;
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.world.0.borrow().now
    }

    fn unix_s(&self) -> u64 {
        let world = self.world.0.borrow();
        world.now.as_secs() + world.processes[self.process].clock_s
    }

    async fn sleep(&self, duration: Duration) {
        Wait { world: self.world.clone(), duration: Some(duration) }.await;
        self.pause().await;
    }

    fn random_hex(&self) -> String {
        self.world.random(|random| format!("{:016x}", random.below(u64::MAX)))
    }

    fn process(&self) -> Option<ProcessId> {
        let machine = self.world.0.borrow().processes[self.process].machine;
        Some(ProcessId::simulated(machine, self.process as u32))
    }

    fn is_gone(&self, process: &ProcessId) -> bool {
        let world = self.world.0.borrow();
        let machine = world.processes[self.process].machine;
        world.processes.iter().enumerate().any(|(index, other)| {
            other.is_gone && other.machine == machine && *process == ProcessId::simulated(machine, index as u32)
        })
    }
}

/// The store as it is, at once.
pub struct Truth(pub(super) Shared);

impl Truth {
    pub fn get(&self, name: &str) -> Option<Bytes> {
        self.0.0.borrow().objects.get(name).cloned()
    }

    /// What counts, oldest first.
    pub fn counting(&self) -> Vec<CheckpointName> {
        let found = blocking(list_in(self)).expect("the truth is always known");
        let is_whole = |name: &CheckpointName| self.get(&format!("{CHECKPOINTS_FOLDER}/{name}/model")).is_some();
        found.into_iter().filter(Found::counts).map(|found| found.name).filter(is_whole).collect()
    }

    /// The newest of what counts.
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

fn info(name: String) -> ObjectInfo {
    ObjectInfo { name, bytes: 1, version: String::new(), changed_unix_s: 0 }
}

/// The checkpoint whose manifest an object is.
fn manifest_of(name: &str) -> Option<CheckpointName> {
    let (folder, file) = name.strip_prefix(CHECKPOINTS_FOLDER)?.strip_prefix('/')?.split_once('/')?;
    if file == MANIFEST_NAME { CheckpointName::parse(folder) } else { None }
}
