//! Claiming a run: at once where nobody holds it, after a wait where the holder may be dead, and never while it lives.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::holder::{self, Alive};
use super::{ATTEMPTS_FOLDER, Attempt, AttemptError, History, unix_s};
use crate::storage::{Folder, StorageError};

/// How often a claim that may have expired is looked at, in the time that it takes to expire.
const LOOKS: u32 = 12;
/// How often a caller is asked whether to go on waiting.
const TICK: Duration = Duration::from_millis(100);
/// A claim that was last refreshed so many times its expiry ago, by clocks that may be wrong, is not watched any more.
const STALE_EXPIRIES: u64 = 10;

/// Who claims.
#[derive(Debug, Clone, Copy)]
pub struct Claimant {
    /// How many ranks it starts.
    pub ranks: u32,
    /// How long a claim lasts that nobody refreshes: `launch.claim_expiry_s`.
    pub expiry: Duration,
    /// The attempt that this claimant holds already, if it does.
    pub holds: Option<u32>,
}

/// Claims the next attempt of `run`, for which it waits until the one that holds it has ended or expired.
///
/// `keeps_waiting` is asked meanwhile, with what it waits for; where it says no, the answer is `None`.
pub fn acquire(
    run: &Folder,
    claimant: &Claimant,
    keeps_waiting: &mut dyn FnMut(&str) -> bool,
) -> Result<Option<Attempt>, AttemptError> {
    let folder = run.folder(ATTEMPTS_FOLDER);
    loop {
        let newest = History::read(run)?.newest();
        match claimant.holds {
            Some(mine) if newest > mine => {
                return Err(AttemptError::Fenced { run: run.url().to_owned(), mine, newer: newest });
            }
            Some(_) => {}
            None if newest > 0 && !is_free(run, newest, claimant, keeps_waiting)? => return Ok(None),
            None => {}
        }
        // What was asked of those before, and not heard, is not asked of one that begins anew: a stop least of all.
        let unheard = if claimant.holds.is_none() { holder::pending(run)? } else { Vec::new() };
        let attempt = Attempt::new(newest + 1, claimant.ranks);
        let json = serde_json::to_vec_pretty(&attempt).unwrap_or_else(|e| unreachable!("a claim is JSON: {e}"));
        match folder.create(&attempt.claim_name(), Bytes::from(json)) {
            Ok(()) => {
                holder::forget(run, &unheard)?;
                return Ok(Some(attempt));
            }
            // Another one was faster: it is the holder now.
            Err(StorageError::AlreadyExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until attempt `number` holds `run` no more. False if the caller does not wait; an error if it lives.
fn is_free(
    run: &Folder,
    number: u32,
    claimant: &Claimant,
    keeps_waiting: &mut dyn FnMut(&str) -> bool,
) -> Result<bool, AttemptError> {
    let folder = run.folder(ATTEMPTS_FOLDER);
    let holder = read_claim(&folder, number)?;
    let first = Alive::read(&folder, &holder)?;
    let refreshed_at = first.as_ref().map_or(holder.claimed_at_unix_s, |alive| alive.refreshed_at_unix_s);
    let age_s = unix_s().saturating_sub(refreshed_at);
    if is_gone(&holder) || has_ended(first.as_ref()) || age_s > STALE_EXPIRIES * claimant.expiry.as_secs() {
        return Ok(true);
    }
    let (who, expiry_s) = (holder.claimant(), claimant.expiry.as_secs());
    let waiting = format!(
        "attempt {number} ({who}) may still hold this run: waiting up to {expiry_s} s for a sign of life (launch.claim_expiry_s)"
    );
    let look_interval = claimant.expiry / LOOKS;
    let (start, mut look_at) = (Instant::now(), Instant::now() + look_interval);
    while start.elapsed() < claimant.expiry {
        if !keeps_waiting(&waiting) {
            return Ok(false);
        }
        std::thread::sleep(TICK.min(look_interval));
        if Instant::now() < look_at {
            continue;
        }
        look_at = Instant::now() + look_interval;
        let now = Alive::read(&folder, &holder)?;
        if has_ended(now.as_ref()) {
            return Ok(true);
        }
        if now != first {
            return Err(AttemptError::Held { run: run.url().to_owned(), attempt: number, claimant: who });
        }
    }
    Ok(true)
}

/// Who holds a run, as far as is known without waiting: it may have died on another machine.
#[derive(Debug, Clone)]
pub struct Holding {
    /// The claim.
    pub attempt: Attempt,
    /// Seconds since 1970, by the claimant's clock, of its last sign of life.
    pub seen_at_unix_s: u64,
}

/// The attempt that holds `run`.
pub fn current(run: &Folder) -> Result<Option<Holding>, StorageError> {
    let folder = run.folder(ATTEMPTS_FOLDER);
    let newest = History::read(run)?.newest();
    if newest == 0 {
        return Ok(None);
    }
    let holder = read_claim(&folder, newest)?;
    let alive = Alive::read(&folder, &holder)?;
    let is_over = has_ended(alive.as_ref()) || is_gone(&holder);
    let seen_at_unix_s = alive.map_or(holder.claimed_at_unix_s, |alive| alive.refreshed_at_unix_s);
    Ok((!is_over).then_some(Holding { attempt: holder, seen_at_unix_s }))
}

/// What tells `run` from every other run, also from one that was begun anew in the same place: its first claim's id.
pub fn run_id(run: &Folder) -> Result<String, StorageError> {
    Ok(read_claim(&run.folder(ATTEMPTS_FOLDER), 1)?.id)
}

fn is_gone(holder: &Attempt) -> bool {
    holder.process.as_ref().is_some_and(super::ProcessId::is_gone)
}

fn has_ended(alive: Option<&Alive>) -> bool {
    alive.is_some_and(|alive| alive.has_ended)
}

/// What attempt `number` claimed. One that cannot be read is somebody's all the same.
fn read_claim(folder: &Folder, number: u32) -> Result<Attempt, StorageError> {
    let name = format!("{number:04}.json");
    let claim = serde_json::from_slice(&folder.get(&name)?).ok();
    let unknown = Attempt { process: None, host: "unknown".into(), pid: 0, ..Attempt::new(number, 0) };
    Ok(claim.unwrap_or(unknown))
}
