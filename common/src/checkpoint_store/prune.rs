//! Deletes old checkpoints: first the manifest, so that no reader sees half a checkpoint, then the other objects.
//!
//! A listing may be stale: it may show what is gone, and lack a manifest that exists. Nothing is therefore deleted before
//! the checkpoints that are to stay have been looked up by name.

use std::collections::BTreeSet;

use super::folder::path_of;
use super::found::Found;
use super::retention::Garbage;
use crate::attempt::surroundings::{Surroundings, blocking};
use crate::attempt::{AttemptError, Claim, History, fence, keep, refuse_while_one_begins};
use crate::checkpoint_layout::{CHECKPOINTS_FOLDER, CheckpointName, MANIFEST_NAME};
use crate::config::Retention;
use crate::storage::{Folder, StorageError};

/// Returns what [`prune`] would delete.
pub fn pruned(
    run: &Folder,
    retention: &Retention,
    holder: Option<&Claim>,
    now_unix_s: u64,
) -> Result<Garbage, AttemptError> {
    blocking(look(run, retention, holder, now_unix_s)).map(|looked| looked.garbage)
}

/// Deletes the checkpoints of `run` that `retention` does not keep, and what dead saves have left behind: see
/// [`Garbage::among`]. Returns what it deleted.
///
/// A `holder` checks before each deletion that it still holds the run. Without a holder, nothing is deleted while an attempt
/// has claimed the run and not begun, and deletion stops when another attempt appears meanwhile, which may continue from
/// what was to be deleted.
pub fn prune(
    run: &Folder,
    retention: &Retention,
    holder: Option<&Claim>,
    now_unix_s: u64,
) -> Result<Garbage, AttemptError> {
    blocking(prune_in(run, retention, holder, now_unix_s))
}

pub(crate) async fn prune_in(
    run: &impl Surroundings,
    retention: &Retention,
    holder: Option<&Claim>,
    now_unix_s: u64,
) -> Result<Garbage, AttemptError> {
    let Looked { garbage, newest, history } = look(run, retention, holder, now_unix_s).await?;
    let mut done = Garbage::default();
    if let (Some(mine), Some(newest)) = (holder, &newest)
        && garbage != done
    {
        keep(run, mine, newest).await?;
    }
    for (names, done) in [(&garbage.expired, &mut done.expired), (&garbage.orphans, &mut done.orphans)] {
        for name in names {
            match holder {
                Some(mine) => fence(run, mine).await?,
                None if History::of(run).await? != history => break,
                None => refuse_while_one_begins(run, &history).await?,
            }
            delete(run, name).await?;
            done.push(name.clone());
        }
    }
    Ok(done)
}

/// What may be deleted, and the grounds for it.
struct Looked {
    garbage: Garbage,
    /// Checkpoint that stays in any case.
    newest: Option<CheckpointName>,
    /// History by which the checkpoints were judged.
    history: History,
}

async fn look(
    run: &impl Surroundings,
    retention: &Retention,
    holder: Option<&Claim>,
    now_unix_s: u64,
) -> Result<Looked, AttemptError> {
    let objects = run.list(CHECKPOINTS_FOLDER).await?;
    if let Some(mine) = holder {
        // A newer attempt may be about to continue from what this one would delete.
        fence(run, mine).await?;
    }
    let history = History::of(run).await?;
    if let Some(mine) = holder.filter(|mine| !history.is_of(mine)) {
        // By what others have put, the holder's own checkpoints would be void.
        return Err(AttemptError::vanished(run, mine, &format!("{:04}.{}.from", mine.number, mine.tag()), "is gone"));
    }
    let mut found = Found::among(&objects, &history);
    let mut looked_up = BTreeSet::new();
    loop {
        let garbage = Garbage::among(&found, retention, holder, now_unix_s);
        let Some(doubted) = doubtful(&found, &garbage, retention, &looked_up) else {
            let newest = found.into_iter().rfind(Found::counts).map(|found| found.name);
            return Ok(Looked { garbage, newest, history });
        };
        let is_committed = run.exists(&format!("{}/{MANIFEST_NAME}", path_of(&doubted))).await?;
        found.iter_mut().filter(|found| found.name == doubted).for_each(|found| found.committed = is_committed);
        looked_up.insert(doubted);
    }
}

/// Returns a checkpoint whose commit is known from the listing alone, if something is to be deleted on that ground.
fn doubtful(
    found: &[Found],
    garbage: &Garbage,
    retention: &Retention,
    looked_up: &BTreeSet<CheckpointName>,
) -> Option<CheckpointName> {
    if garbage == &Garbage::default() {
        return None;
    }
    let kept = retention.keep_last.max(1) as usize;
    let stay = found.iter().rev().filter(|found| found.counts()).take(kept);
    let open = found.iter().filter(|found| !found.committed && garbage.orphans.contains(&found.name));
    stay.chain(open).map(|found| &found.name).find(|name| !looked_up.contains(name)).cloned()
}

/// Deletes what saves have left over in `folder`, which is one rank's on its own host, and all checkpoints there except the
/// `keep_last` newest.
pub fn prune_host(folder: &Folder, keep_last: u64, holder: u32) -> Result<(), StorageError> {
    let found = Found::among(&folder.folder(CHECKPOINTS_FOLDER).list()?, &History::default());
    let garbage = Garbage::on_host(&found, keep_last, holder);
    garbage.expired.iter().chain(&garbage.orphans).try_for_each(|name| blocking(delete(folder, name)))
}

async fn delete(run: &impl Surroundings, name: &CheckpointName) -> Result<(), StorageError> {
    let folder = path_of(name);
    // If the checkpoint lies elsewhere and is linked here, only the link is removed.
    if !run.is_linked(&folder) {
        // From here on the checkpoint does not exist, even if the machine fails.
        run.delete(&format!("{folder}/{MANIFEST_NAME}")).await?;
    }
    run.delete_all(&folder).await
}
