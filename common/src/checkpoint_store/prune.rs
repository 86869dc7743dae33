//! Old checkpoints go: their manifest first, so that no reader sees half of one, then their objects.
//!
//! A listing may be of a moment ago: it may show what is gone, and lack a manifest that is there. So those that are to stay,
//! and those that seem to have no manifest, are looked up by name before anything goes because of them.

use super::folder_of;
use crate::attempt::{AttemptError, History};
use crate::checkpoint_layout::{CHECKPOINTS_FOLDER, CheckpointName, Found, Garbage, MANIFEST_NAME, Retention};
use crate::storage::{Folder, StorageError};

/// What [`prune`] would delete.
pub fn pruned(
    run: &Folder,
    retention: &Retention,
    holder: Option<u32>,
    now_unix_s: u64,
) -> Result<Garbage, AttemptError> {
    let objects = run.folder(CHECKPOINTS_FOLDER).list()?;
    let history = History::read(run)?;
    match holder {
        // A newer attempt may be about to go on from what this one would delete.
        Some(mine) if history.newest() > mine => {
            Err(AttemptError::Fenced { run: run.url().to_owned(), mine, newer: history.newest() })
        }
        _ => {
            let found = looked_up(run, Found::among(&objects, &history), retention)?;
            Ok(Garbage::among(&found, retention, holder, now_unix_s))
        }
    }
}

/// `found`, oldest first, with what is there in truth of those that are to stay, and of those without a manifest.
fn looked_up(run: &Folder, mut found: Vec<Found>, retention: &Retention) -> Result<Vec<Found>, StorageError> {
    let mut stay = retention.keep_last.max(1);
    for found in found.iter_mut().rev().filter(|found| !found.void) {
        if !found.committed || stay > 0 {
            found.committed = match folder_of(run, &found.name).info(MANIFEST_NAME) {
                Ok(_) => true,
                Err(StorageError::NotFound { .. }) => false,
                Err(error) => return Err(error),
            };
            stay -= u64::from(found.committed && stay > 0);
        }
    }
    Ok(found)
}

/// Deletes the checkpoints of `run` that `retention` lets go, and what dead saves have left behind: see
/// [`Garbage::among`]. Returns what it deleted.
pub fn prune(
    run: &Folder,
    retention: &Retention,
    holder: Option<u32>,
    now_unix_s: u64,
) -> Result<Garbage, AttemptError> {
    let garbage = pruned(run, retention, holder, now_unix_s)?;
    garbage.expired.iter().chain(&garbage.orphans).try_for_each(|name| delete(run, name))?;
    Ok(garbage)
}

/// Deletes what is left over in `folder`, one rank's on its own host, and all but the `keep_last` newest checkpoints there.
pub fn prune_host(folder: &Folder, keep_last: u64) -> Result<(), StorageError> {
    let found = Found::among(&folder.folder(CHECKPOINTS_FOLDER).list()?, &History::default());
    let garbage = Garbage::on_host(&found, keep_last);
    garbage.expired.iter().chain(&garbage.orphans).try_for_each(|name| delete(folder, name))
}

fn delete(run: &Folder, name: &CheckpointName) -> Result<(), StorageError> {
    let folder = folder_of(run, name);
    // Where it lies elsewhere, and is linked here, the link is all that goes.
    if folder.refuse_links().is_ok() {
        // Whatever happens after this, also to the machine, the checkpoint does not exist any more.
        folder.delete(MANIFEST_NAME)?;
        folder.make_deletions_durable();
    }
    folder.delete_all()
}
