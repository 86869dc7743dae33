//! A claimant's access to the simulated store, one operation at a time.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::super::claim::Claim;
use super::super::holder::Alive;
use super::super::process::ProcessId;
use super::super::surroundings::Surroundings;
use super::truth::{Truth, info};
use super::world::Shared;
use crate::checkpoint_layout::{CHECKPOINTS_FOLDER, CheckpointName, MANIFEST_NAME};
use crate::storage::{ObjectInfo, StorageError};

type Result<T> = std::result::Result<T, StorageError>;

/// Access of one claimant to the store.
#[derive(Clone)]
pub struct Node {
    pub world: Shared,
    pub process: usize,
    /// Claim that the claimant holds, which it must check before it puts or deletes what counts.
    pub holds: Option<Claim>,
    /// Whether it has checked its claim since.
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

    /// Checks that a holder has looked at its claim before a commit, a deletion or a sign of life.
    fn check_look(&self, name: &str) {
        assert!(self.has_looked.take() || self.holds.is_none(), "{name} without a look at the claim");
    }

    async fn pause(&self) {
        let duration = Some(self.world.0.borrow_mut().latency());
        Wait { world: self.world.clone(), duration }.await;
    }

    /// Carries out `operation` at some moment, and answers at a later one, or never.
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
        self.world.is_gone(self.process, process)
    }
}

/// Returns the checkpoint whose manifest the object `name` is, if it is one.
fn manifest_of(name: &str) -> Option<CheckpointName> {
    let (folder, file) = name.strip_prefix(CHECKPOINTS_FOLDER)?.strip_prefix('/')?.split_once('/')?;
    if file == MANIFEST_NAME { CheckpointName::parse(folder) } else { None }
}
