//! Old checkpoints go: their manifest first, so that no reader sees half of one, then their objects.

use common::checkpoint_layout::{CHECKPOINTS_FOLDER, CheckpointName, Found, MANIFEST_NAME, newest, to_prune};
use common::storage::Folder;

use super::{CheckpointError, folder_of};

/// Deletes the checkpoints of the run folder `run` that [`to_prune`] lets go, and what dead saves have left behind.
/// Returns the committed ones that it deleted, oldest first; 0 keeps everything.
///
/// Only the attempt that holds the run may prune it.
pub fn prune(run: &Folder, keep_last: u64) -> Result<Vec<CheckpointName>, CheckpointError> {
    if keep_last == 0 {
        return Ok(Vec::new());
    }
    let found = Found::among(&run.folder(CHECKPOINTS_FOLDER).list()?);
    let (committed, open): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| found.committed);
    let committed: Vec<_> = committed.into_iter().map(|found| found.name).collect();
    let pruned = to_prune(&committed, keep_last);
    let newest = newest(&committed);
    let dead = open.iter().map(|found| &found.name).filter(|name| newest.is_some_and(|n| is_dead(name, n)));
    for name in pruned.iter().chain(dead) {
        delete(&folder_of(run, name))?;
    }
    Ok(pruned)
}

/// Whether a save without a manifest will never get one. An attempt saves in the order of its steps, one save at a
/// time, so a newer commit by the same or a later attempt means that this one was abandoned, or half deleted.
fn is_dead(open: &CheckpointName, newest: &CheckpointName) -> bool {
    open.attempt <= newest.attempt && open.step < newest.step
}

fn delete(folder: &Folder) -> Result<(), CheckpointError> {
    let names = folder.list()?.into_iter().map(|object| object.name).collect();
    deletion_order(names).iter().try_for_each(|name| folder.delete(name).map_err(CheckpointError::from))
}

/// The manifest first: whatever happens then, the checkpoint does not exist any more.
fn deletion_order(mut names: Vec<String>) -> Vec<String> {
    names.sort_by_key(|name| name != MANIFEST_NAME);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_is_deleted_first() {
        let names = ["config.json", "manifest.json", "model.safetensors"].map(str::to_owned).to_vec();
        assert_eq!(deletion_order(names), ["manifest.json", "config.json", "model.safetensors"]);
    }
}
