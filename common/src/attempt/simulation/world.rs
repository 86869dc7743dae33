//! The state of a simulation: objects, time and claimants, and what has happened to them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::super::claim::{ATTEMPTS_FOLDER, Attempt, Claim};
use super::super::process::ProcessId;
use super::random::Random;
use crate::checkpoint_layout::CheckpointName;

type Work = Pin<Box<dyn Future<Output = ()>>>;

/// Longest delay of a listing, which is less than the shortest expiry.
const LAG: Duration = Duration::from_millis(500);
/// Longest time of an operation where nothing is wrong.
const LATENCY: Duration = Duration::from_millis(8);
/// Longest suspension of a claimant.
const PAUSE: Duration = Duration::from_secs(6);

/// Shared access to the whole state.
#[derive(Clone)]
pub struct Shared(pub(super) Rc<RefCell<World>>);

pub struct World {
    pub(super) random: Random,
    pub(super) now: Duration,
    pub(super) is_calm: bool,
    pub(super) objects: BTreeMap<String, Bytes>,
    /// Signs of life that each claim's holder has given, by the claim's id.
    pub(super) signs: BTreeMap<String, Vec<Sign>>,
    /// Ids of claims whose holders have said that they end.
    pub(super) ended: BTreeSet<String>,
    /// Times at which each object was added or removed, for stale listings.
    changes: BTreeMap<String, Vec<(Duration, bool)>>,
    tasks: Vec<Task>,
    arriving: Vec<Task>,
    /// Time at which the task that is being polled is to continue.
    pub(super) wake: Duration,
    pub(super) processes: Vec<Process>,
    /// Run that each claim belongs to: the id of its first claim.
    pub(super) runs: BTreeMap<Claim, String>,
    /// Objects still to be deleted.
    pub(super) doomed: Vec<(Duration, String)>,
    pub(super) saves: BTreeMap<CheckpointName, Save>,
    /// Time at which each attempt began.
    pub(super) begun: Vec<(Duration, Claim)>,
}

/// A sign of life.
pub(super) struct Sign {
    pub(super) at: Duration,
    /// When somebody has deleted it, if anybody has.
    pub(super) deleted: Option<Duration>,
}

struct Task {
    process: usize,
    kind: Kind,
    wake: Duration,
    work: Work,
}

/// Role of a task in its claimant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Launcher,
    Keeper,
    Rank,
}

/// A claimant.
pub(super) struct Process {
    /// Machine of the process. Processes of one machine know which of the others are gone.
    pub(super) machine: u64,
    /// Deviation of the process's clock, in seconds.
    pub(super) clock_s: u64,
    pub(super) is_gone: bool,
    pub(super) keep_last: u64,
    /// Times of its looks for a sign of life.
    pub(super) looks: Vec<Duration>,
    outcome: Outcome,
}

/// Result of a claimant.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Checkpoint that its last attempt started from.
    pub start: Option<CheckpointName>,
    /// Number of checkpoints that it has committed, as far as it knows.
    pub saved: u32,
    /// Why it ended early.
    pub error: Option<String>,
}

/// A save that has begun.
pub(super) struct Save {
    /// Checkpoint that the state was last saved as, or restored from, before.
    pub(super) parent: Option<CheckpointName>,
    pub(super) claim: Claim,
    pub(super) committed: Option<Duration>,
}

impl World {
    pub fn begin(random: Random) -> Shared {
        Shared(Rc::new(RefCell::new(World {
            random,
            now: Duration::from_secs(1),
            is_calm: false,
            objects: BTreeMap::new(),
            signs: BTreeMap::new(),
            ended: BTreeSet::new(),
            changes: BTreeMap::new(),
            tasks: Vec::new(),
            arriving: Vec::new(),
            wake: Duration::ZERO,
            processes: Vec::new(),
            runs: BTreeMap::new(),
            doomed: Vec::new(),
            saves: BTreeMap::new(),
            begun: Vec::new(),
        })))
    }

    pub(super) fn insert(&mut self, name: &str, content: Bytes) {
        let (now, was_there) = (self.now, self.objects.insert(name.to_owned(), content).is_some());
        if !was_there {
            self.changes.entry(name.to_owned()).or_default().push((now, true));
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(content) = self.objects.remove(name) {
            let now = self.now;
            if name.ends_with(".alive") {
                let alive: Value = serde_json::from_slice(&content).expect("a sign of life is JSON");
                for sign in self.signs.get_mut(alive["id"].as_str().unwrap()).into_iter().flatten() {
                    sign.deleted.get_or_insert(now);
                }
            }
            self.changes.entry(name.to_owned()).or_default().push((now, false));
        }
    }

    /// Returns the duration of the next operation.
    pub(super) fn latency(&mut self) -> Duration {
        match self.random.below(120) {
            0 if !self.is_calm => self.random.up_to(PAUSE),
            1..=5 if !self.is_calm => self.random.up_to(PAUSE / 10),
            _ => self.random.up_to(LATENCY),
        }
    }

    /// Returns the names in `folder` as a listing shows them, each as of a moment of its own.
    pub(super) fn listed(&mut self, folder: &str) -> Vec<String> {
        let prefix = format!("{folder}/");
        let mut names = Vec::new();
        let (now, is_calm) = (self.now, self.is_calm);
        for (name, changes) in self.changes.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix)) {
            let is_behind = !is_calm && changes.last().is_some_and(|(at, _)| *at + LAG > now) && self.random.one_in(2);
            let seen = if is_behind { now - self.random.up_to(LAG) } else { now };
            let is_there = changes.iter().rev().find(|(at, _)| *at <= seen).is_some_and(|(_, is_there)| *is_there);
            for _ in 0..usize::from(is_there) + usize::from(is_there && self.random.one_in(50)) {
                names.push(name[prefix.len()..].to_owned());
            }
        }
        names
    }
}

impl Shared {
    pub fn random<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        draw(&mut self.0.borrow_mut().random)
    }

    /// Adds a claimant on one of two machines, whose retention keeps `keep_last` checkpoints.
    pub fn process(&self, keep_last: u64) -> usize {
        let mut world = self.0.borrow_mut();
        let (machine, clock_s) = (world.random.below(2), world.random.below(1 << 16));
        world.processes.push(Process {
            machine,
            clock_s,
            is_gone: false,
            keep_last,
            looks: Vec::new(),
            outcome: Outcome::default(),
        });
        world.processes.len() - 1
    }

    /// Starts a task of `process`.
    pub fn spawn(&self, process: usize, kind: Kind, work: impl Future<Output = ()> + 'static) {
        let mut world = self.0.borrow_mut();
        let wake = world.now;
        world.arriving.push(Task { process, kind, wake, work: Box::pin(work) });
    }

    /// Ends a task of `process` between two operations.
    pub fn kill(&self, process: usize, kind: Kind) {
        let mut world = self.0.borrow_mut();
        world.tasks.retain(|task| task.process != process || task.kind != kind);
        world.arriving.retain(|task| task.process != process || task.kind != kind);
    }

    /// Kills one of the launchers that live.
    pub fn crash(&self, with_rank: bool) {
        let mut world = self.0.borrow_mut();
        let living: Vec<usize> =
            world.tasks.iter().filter(|task| task.kind == Kind::Launcher).map(|task| task.process).collect();
        if living.is_empty() {
            return;
        }
        let process = living[world.random.below(living.len() as u64) as usize];
        world.processes[process].is_gone = true;
        drop(world);
        self.kill(process, Kind::Launcher);
        self.kill(process, Kind::Keeper);
        if with_rank {
            self.kill(process, Kind::Rank);
        }
    }

    /// Begins to delete all objects, or those in `attempts/`, in any order.
    pub fn begin_deletion(&self, all: bool) {
        let mut world = self.0.borrow_mut();
        let world = &mut *world;
        let names: Vec<String> = world.objects.keys().cloned().collect();
        let longest = if world.random.one_in(2) { Duration::ZERO } else { LAG };
        for name in names.into_iter().filter(|name| all || name.starts_with(ATTEMPTS_FOLDER)) {
            world.doomed.push((world.now + world.random.up_to(longest), name));
        }
        world.doomed.sort();
        world.doomed.reverse();
    }

    /// Ends all faults: operations are quick, and listings are current.
    pub fn calm_down(&self) {
        self.0.borrow_mut().is_calm = true;
    }

    pub fn is_idle(&self) -> bool {
        let world = self.0.borrow();
        world.tasks.is_empty() && world.arriving.is_empty() && world.doomed.is_empty()
    }

    /// Runs everything that happens before `end`.
    pub fn run_until(&self, end: Duration) {
        loop {
            let task = {
                let mut world = self.0.borrow_mut();
                let world = &mut *world;
                world.tasks.append(&mut world.arriving);
                let next = world.tasks.iter().enumerate().min_by_key(|(_, task)| task.wake);
                let next = next.map(|(index, task)| (index, task.wake));
                if let Some((at, _)) = world.doomed.last()
                    && *at < end
                    && next.is_none_or(|(_, wake)| *at <= wake)
                {
                    let (at, name) = world.doomed.pop().unwrap();
                    world.now = world.now.max(at);
                    world.remove(&name);
                    continue;
                }
                match next {
                    Some((index, wake)) if wake < end => {
                        world.now = world.now.max(wake);
                        world.tasks.swap_remove(index)
                    }
                    _ => break,
                }
            };
            self.poll(task);
        }
        let mut world = self.0.borrow_mut();
        world.now = world.now.max(end);
    }

    fn poll(&self, mut task: Task) {
        if task.work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            let mut world = self.0.borrow_mut();
            task.wake = world.wake;
            world.tasks.push(task);
        }
    }

    /// Returns whether `process` knows that `other` has ended, which it cannot know of another machine.
    pub(super) fn is_gone(&self, process: usize, other: &ProcessId) -> bool {
        let world = self.0.borrow();
        let machine = world.processes[process].machine;
        world.processes.iter().enumerate().any(|(index, there)| {
            there.is_gone && there.machine == machine && *other == ProcessId::simulated(machine, index as u32)
        })
    }

    /// Returns the result of the claimant `process`.
    pub fn outcome_of(&self, process: usize) -> Outcome {
        self.0.borrow().processes[process].outcome.clone()
    }

    pub fn note(&self, process: usize, note: impl FnOnce(&mut Outcome)) {
        note(&mut self.0.borrow_mut().processes[process].outcome);
    }

    /// Records the beginning of a save, of a state that was `parent` before.
    pub fn begin_save(&self, name: &CheckpointName, parent: Option<&CheckpointName>, claim: &Claim) {
        let mut world = self.0.borrow_mut();
        let save = Save { parent: parent.cloned(), claim: claim.clone(), committed: None };
        world.saves.insert(name.clone(), save);
    }

    pub(super) fn note_look(&self, process: usize) {
        let mut world = self.0.borrow_mut();
        let now = world.now;
        world.processes[process].looks.push(now);
    }

    pub(super) fn note_sign(&self, claim: &Claim, has_ended: bool) {
        let mut world = self.0.borrow_mut();
        if has_ended {
            world.ended.insert(claim.id.clone());
        }
        let now = world.now;
        world.signs.entry(claim.id.clone()).or_default().push(Sign { at: now, deleted: None });
    }

    /// Records a claim that has been made.
    pub fn note_claim(&self, attempt: &Attempt) {
        let run = attempt.first.clone().unwrap_or_default();
        self.0.borrow_mut().runs.insert(attempt.claim(), run);
    }

    /// Records that the attempt of `claim` has begun.
    pub fn begin_attempt(&self, claim: &Claim) {
        let mut world = self.0.borrow_mut();
        let now = world.now;
        world.begun.push((now, claim.clone()));
    }

    pub fn objects(&self) -> Vec<String> {
        self.0.borrow().objects.keys().cloned().collect()
    }

    /// Records that a manifest has been put.
    pub(super) fn note_commit(&self, name: &CheckpointName) {
        let mut world = self.0.borrow_mut();
        let now = world.now;
        if let Some(save) = world.saves.get_mut(name) {
            save.committed.get_or_insert(now);
        }
    }
}
