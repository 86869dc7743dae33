//! Claims a run: at once if nobody holds it, after a wait if the holder may be dead, and never while the holder lives.
//!
//! No wall clock decides. A claimant takes a run over only if the holder has said that it ends, if the holder's process is
//! gone from this machine, or if two looks, as far apart as the claim takes to expire, have found an unchanged sign of life.

use std::time::Duration;

use bytes::Bytes;

use super::claim::{ATTEMPTS_FOLDER, Attempt, Claimant};
use super::claims::{Claims, fence, read_claim};
use super::error::AttemptError;
use super::history::History;
use super::holder::{self, Alive, REFRESHES};
use super::surroundings::{Surroundings, blocking};
use crate::storage::{Folder, StorageError};

/// Number of looks at a claim that may have expired, during its time of expiry.
const LOOKS: u32 = 12;
/// Time between calls that ask whether to go on waiting.
const TICK: Duration = Duration::from_millis(100);
/// Longest time to wait for a holder, regardless of what its claim promises.
const EXPIRY_MAX: Duration = Duration::from_secs(240);

/// Two refreshes of the longest expiry: the shortest time for which a claim of an older version, which promises nothing, is
/// watched.
const OLDER_PROMISE: Duration = Duration::from_secs(2 * EXPIRY_MAX.as_secs() / REFRESHES as u64);

/// Outcome of waiting for a holder.
enum Wait {
    /// The holder no longer holds the run.
    Over,
    /// The caller no longer wants to wait.
    GivenUp,
}

/// Claims the next attempt of `run`, after waiting until the attempt that holds it has ended or expired.
///
/// Calls `keeps_waiting` meanwhile with a description of what it waits for, and returns `None` once that returns false.
pub fn acquire(
    run: &Folder,
    claimant: &Claimant,
    keeps_waiting: &mut dyn FnMut(&str) -> bool,
) -> Result<Option<Attempt>, AttemptError> {
    blocking(acquire_in(run, claimant, keeps_waiting))
}

pub(super) async fn acquire_in(
    run: &impl Surroundings,
    claimant: &Claimant,
    keeps_waiting: &mut dyn FnMut(&str) -> bool,
) -> Result<Option<Attempt>, AttemptError> {
    // The claim that is known to hold the run no longer.
    let mut over = None;
    loop {
        if let Some(mine) = &claimant.holds {
            fence(run, mine).await?;
        }
        let claims = Claims::look(run).await?;
        match (&claimant.holds, &claims.newest) {
            (Some(mine), newest) if newest.as_ref().map(|newest| &newest.id) != Some(&mine.id) => {
                if claims.number() > mine.number {
                    let newer = claims.number();
                    return Err(AttemptError::Fenced { run: run.url().to_owned(), mine: mine.number, newer });
                }
                // It has vanished, as the next look at it will tell, or a listing is stale.
                run.sleep(TICK).await;
                continue;
            }
            (None, Some(newest)) if over.as_ref() != Some(&newest.id) => {
                match wait_for(run, newest, claimant, keeps_waiting).await? {
                    Wait::Over => over = Some(newest.id.clone()),
                    Wait::GivenUp => return Ok(None),
                }
                // The next look finds a claimant that came meanwhile.
                continue;
            }
            _ => {}
        }
        if let Some(attempt) = claim_next(run, claims, claimant).await? {
            return Ok(Some(attempt));
        }
    }
}

/// Puts the claim that comes after `claims`. Returns `None` if another claimant was faster, or if the run folder was deleted
/// meanwhile.
async fn claim_next(
    run: &impl Surroundings,
    claims: Claims,
    claimant: &Claimant,
) -> Result<Option<Attempt>, AttemptError> {
    let Some(number) = claims.next else { return Err(AttemptError::Exhausted { run: run.url().to_owned() }) };
    // Requests made to earlier attempts and not heard do not concern a new claimant, least of all a stop.
    let unheard = if claimant.holds.is_none() { holder::pending(run).await? } else { Vec::new() };
    let attempt = Attempt::new(run, number, claims.first, claimant);
    let json = serde_json::to_vec_pretty(&attempt).unwrap_or_else(|e| unreachable!("a claim is JSON: {e}"));
    match run.create(&format!("{ATTEMPTS_FOLDER}/{}", attempt.claim_name()), Bytes::from(json)).await {
        Ok(()) => {}
        // Another claimant was faster, and is the holder now.
        Err(StorageError::AlreadyExists { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    match fence(run, &attempt.claim()).await {
        // The claim was put into a folder that had been deleted meanwhile, where it belongs to nobody.
        Err(AttemptError::Vanished { .. }) => return Ok(None),
        result => result?,
    }
    holder::forget(run, &unheard).await?;
    Ok(Some(attempt))
}

/// Waits until `holder` no longer holds `run`. Fails if the holder lives.
async fn wait_for(
    run: &impl Surroundings,
    holder: &Attempt,
    claimant: &Claimant,
    keeps_waiting: &mut dyn FnMut(&str) -> bool,
) -> Result<Wait, AttemptError> {
    let mut first = Alive::read(run, holder).await?;
    if is_over(run, holder, first.as_ref()) {
        return Ok(Wait::Over);
    }
    // Wait for as long as the holder's claim promises a sign of life, if that is longer.
    let promised = holder.expiry_ms.map_or(OLDER_PROMISE, Duration::from_millis);
    let expiry = claimant.expiry.max(promised.min(EXPIRY_MAX));
    let (number, who) = (holder.attempt, holder.claimant());
    let waiting = format!(
        "attempt {number} ({who}) may still hold this run: waiting up to {} s for a sign of life (launch.claim_expiry_s)",
        expiry.as_secs()
    );
    let look_interval = expiry / LOOKS;
    let mut start = run.now();
    let mut looked_at = start;
    loop {
        if !keeps_waiting(&waiting) {
            return Ok(Wait::GivenUp);
        }
        run.sleep(TICK.min(look_interval)).await;
        let now = run.now();
        if now < looked_at + look_interval {
            continue;
        }
        looked_at = now;
        // This look begins after the time has passed, even if this process was suspended.
        let alive = Alive::read(run, holder).await?;
        if is_over(run, holder, alive.as_ref()) {
            return Ok(Wait::Over);
        }
        if alive.is_some() && alive != first {
            return Err(AttemptError::Held { run: run.url().to_owned(), attempt: number, claimant: who });
        }
        if alive.is_none() && first.is_some() {
            // Somebody is deleting the folder. The last sign may have come just before; a holder that lives gives another.
            (first, start) = (None, run.now());
            continue;
        }
        if now.saturating_sub(start) >= expiry {
            return Ok(Wait::Over);
        }
    }
}

/// Returns whether `holder` is known, without waiting, to hold the run no longer.
fn is_over(run: &impl Surroundings, holder: &Attempt, alive: Option<&Alive>) -> bool {
    alive.is_some_and(|alive| alive.has_ended) || holder.process.as_ref().is_some_and(|process| run.is_gone(process))
}

/// Fails if an attempt has claimed `run`, whose history is `history`, and has not begun, since nobody then knows what it
/// continues.
pub(crate) async fn refuse_while_one_begins(run: &impl Surroundings, history: &History) -> Result<(), AttemptError> {
    if history.has_newest_begun() {
        return Ok(());
    }
    let Some(holder) = read_claim(run, history.newest()).await? else { return Ok(()) };
    let alive = Alive::read(run, &holder).await?;
    match is_over(run, &holder, alive.as_ref()) {
        true => Ok(()),
        false => Err(AttemptError::Beginning { run: run.url().to_owned(), attempt: holder.attempt }),
    }
}

/// Who holds a run, as far as is known without waiting. The holder may have died on another machine.
#[derive(Debug, Clone)]
pub struct Holding {
    /// Claim of the holder.
    pub attempt: Attempt,
    /// Time of the holder's last sign of life, in seconds since 1970 by the claimant's clock. Only for people, since that
    /// clock may be wrong.
    pub seen_at_unix_s: u64,
}

/// Returns the attempt that holds `run`, if there is one.
pub fn current(run: &Folder) -> Result<Option<Holding>, StorageError> {
    blocking(async {
        let Some(holder) = Claims::look(run).await?.newest else { return Ok(None) };
        let alive = Alive::read(run, &holder).await?;
        let is_over = is_over(run, &holder, alive.as_ref());
        let seen_at_unix_s = alive.map_or(holder.claimed_at_unix_s, |alive| alive.refreshed_at_unix_s);
        Ok((!is_over).then_some(Holding { attempt: holder, seen_at_unix_s }))
    })
}

/// Returns the identity of `run`, which is the id of its first claim. It differs from that of every other run, also of one
/// begun anew in this folder.
pub fn run_id(run: &Folder) -> Result<String, StorageError> {
    let first = blocking(read_claim(run, 1))?;
    first.map(|claim| claim.id).ok_or_else(|| StorageError::NotFound { url: run.url_of("attempts/0001.json") })
}
