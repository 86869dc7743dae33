//! A claimant: it claims, keeps the claim, and has a rank restore, save, commit and prune, attempt after attempt.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::super::acquire::acquire_in;
use super::super::claim::{Attempt, Claim, Claimant};
use super::super::error::AttemptError;
use super::super::history::begin;
use super::super::holder::{Keeper, REFRESHES};
use super::super::surroundings::Surroundings;
use super::store::Node;
use super::world::{Kind, Shared};
use crate::checkpoint_layout::{CheckpointName, MANIFEST_NAME};
use crate::checkpoint_store::Found;
use crate::checkpoint_store::{commit_in, list_in, path_of, prune_in};
use crate::config::Retention;

/// Number of times that a claimant tries a failing store.
const TRIES: u32 = 3;
/// Time between a launcher's looks at its rank, and at what its keeper has heard.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What a claimant is to do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub expiry: Duration,
    /// Number of saves per attempt.
    pub saves: u32,
    pub attempts: u32,
    pub keep_last: u64,
    /// Time between two saves.
    pub training: Duration,
}

impl Plan {
    pub fn random(world: &Shared) -> Self {
        world.random(|random| Plan {
            expiry: Duration::from_millis(600 * (1 + random.below(3))),
            saves: 1 + random.below(4) as u32,
            attempts: 1 + random.below(2) as u32,
            keep_last: random.below(3),
            training: random.up_to(Duration::from_secs(1)),
        })
    }

    fn retention(&self) -> Retention {
        Retention { keep_last: self.keep_last, keep_every_steps: 0 }
    }
}

/// Progress of an attempt's parts.
#[derive(Default)]
struct Progress {
    rank_has_ended: bool,
    is_fenced: bool,
    is_stopped: bool,
}

/// Starts a claimant. Returns the number of its process.
pub fn arrive(world: &Shared, plan: &Plan) -> usize {
    let process = world.process(plan.keep_last);
    let node = Node::new(world, process, None);
    world.spawn(process, Kind::Launcher, launcher(node, *plan));
    process
}

/// Starts a process that holds nothing and prunes once.
pub fn pruner(world: &Shared) {
    let plan = Plan::random(world);
    let process = world.process(plan.keep_last);
    let node = Node::new(world, process, None);
    let prune = async move {
        // By some clock, the grace of an hour has passed for everything unfinished.
        drop(prune_in(&node, &plan.retention(), None, u64::MAX / 2).await);
    };
    world.spawn(process, Kind::Rank, prune);
}

pub async fn launcher(node: Node, plan: Plan) {
    let mut holds: Option<Claim> = None;
    let (mut attempts, mut tries) = (0, 0);
    while attempts < plan.attempts && tries < TRIES {
        let claimant = Claimant { ranks: 1, expiry: plan.expiry, holds: holds.clone() };
        let claimed = acquire_in(&node, &claimant, &mut |_| true).await;
        let attempt = match claimed {
            Ok(claimed) => claimed.expect("it waits"),
            Err(AttemptError::Storage(_)) => {
                tries += 1;
                node.sleep(plan.expiry).await;
                continue;
            }
            Err(error) => {
                node.world.note(node.process, |outcome| outcome.error = Some(error.to_string()));
                return;
            }
        };
        attempts += 1;
        node.world.note_claim(&attempt);
        if holds.is_none() {
            node.world.check_takeover(node.process, &attempt);
        }
        holds = Some(attempt.claim());
        if !one_attempt(&node, &plan, attempt).await {
            return;
        }
    }
}

/// Follows an attempt to its end. Returns whether the launcher may begin another.
async fn one_attempt(node: &Node, plan: &Plan, attempt: Attempt) -> bool {
    let progress = Rc::new(RefCell::new(Progress::default()));
    let claim = attempt.claim();
    let of_this = || Node::new(&node.world, node.process, Some(claim.clone()));
    node.world.spawn(node.process, Kind::Keeper, keeper(of_this(), *plan, attempt, progress.clone()));
    node.world.spawn(node.process, Kind::Rank, rank(of_this(), *plan, claim.clone(), progress.clone()));
    loop {
        node.sleep(LOOK_INTERVAL).await;
        if progress.borrow().is_fenced {
            node.world.kill(node.process, Kind::Rank);
            return false;
        }
        if progress.borrow().rank_has_ended {
            progress.borrow_mut().is_stopped = true;
            return true;
        }
    }
}

/// Keeps a claim like the thread of a holder.
async fn keeper(node: Node, plan: Plan, attempt: Attempt, progress: Rc<RefCell<Progress>>) {
    let mut keeper = Keeper::new(node.clone(), attempt);
    loop {
        let is_stopped = progress.borrow().is_stopped;
        if let Err(error) = keeper.refresh(is_stopped).await
            && error.is_another_attempts()
        {
            progress.borrow_mut().is_fenced = true;
            return;
        }
        if is_stopped {
            return;
        }
        node.sleep(plan.expiry / REFRESHES).await;
    }
}

async fn rank(node: Node, plan: Plan, claim: Claim, progress: Rc<RefCell<Progress>>) {
    if let Err(error) = train(&node, &plan, &claim).await {
        node.world.note(node.process, |outcome| outcome.error = Some(error.to_string()));
    }
    progress.borrow_mut().rank_has_ended = true;
}

/// Trains like a worker: restores the newest checkpoint, then saves, commits and prunes.
async fn train(node: &Node, plan: &Plan, claim: &Claim) -> Result<(), AttemptError> {
    let mut state = restore(node).await?;
    node.world.note(node.process, |outcome| outcome.start.clone_from(&state));
    begin(node, claim, state.as_ref()).await?;
    node.world.begin_attempt(claim);
    for _ in 0..plan.saves {
        node.sleep(plan.training).await;
        let step = state.as_ref().map_or(0, |state| state.step) + 10;
        let name = claim.name_checkpoint(step, &node.random_hex());
        node.world.begin_save(&name, state.as_ref(), claim);
        let saved = save(node, plan, claim, &name).await;
        match saved {
            Err(error) if error.is_another_attempts() => return Err(error),
            Err(_) => {}
            Ok(()) => node.world.note(node.process, |outcome| outcome.saved += 1),
        }
        state = Some(name);
    }
    Ok(())
}

async fn save(node: &Node, plan: &Plan, claim: &Claim, name: &CheckpointName) -> Result<(), AttemptError> {
    node.put(&format!("{}/model", path_of(name)), Bytes::from(name.to_string())).await?;
    commit_in(node, claim, name, Bytes::from(name.to_string())).await?;
    if let Err(error) = prune_in(node, &plan.retention(), Some(claim), node.unix_s()).await
        && error.is_another_attempts()
    {
        return Err(error);
    }
    Ok(())
}

/// Returns the newest complete checkpoint, searched for as by a worker.
async fn restore(node: &Node) -> Result<Option<CheckpointName>, AttemptError> {
    let found = list_in(node).await?;
    for found in found.iter().rev().filter(|found| Found::counts(found)) {
        let folder = path_of(&found.name);
        let is_whole =
            node.exists(&format!("{folder}/{MANIFEST_NAME}")).await? && node.exists(&format!("{folder}/model")).await?;
        if is_whole {
            return Ok(Some(found.name.clone()));
        }
    }
    Ok(None)
}
