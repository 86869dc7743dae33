//! Lists the checkpoints of a run by their names.

use super::folder::path_of;
use super::found::Found;
use crate::attempt::History;
use crate::attempt::surroundings::{Surroundings, blocking};
use crate::checkpoint_layout::{CHECKPOINTS_FOLDER, CheckpointName, MANIFEST_NAME};
use crate::storage::{Folder, StorageError};

/// Lists the checkpoints of the run folder `run`, oldest first, whether or not they count.
pub fn list(run: &Folder) -> Result<Vec<Found>, StorageError> {
    blocking(list_in(run))
}

pub(crate) async fn list_in(run: &impl Surroundings) -> Result<Vec<Found>, StorageError> {
    // Attempts are read last: an attempt that begins between the two listings voids what it did not see.
    let objects = run.list(CHECKPOINTS_FOLDER).await?;
    let history = History::of(run).await?;
    let mut found = Found::among(&objects, &history);
    let is_missing = |kept: &&CheckpointName| !found.iter().any(|found| found.committed && found.name == **kept);
    if let Some(kept) = history.kept().filter(is_missing)
        && run.exists(&format!("{}/{MANIFEST_NAME}", path_of(kept))).await?
    {
        // The listing is stale.
        found.retain(|found| found.name != *kept);
        found.push(Found { name: kept.clone(), committed: true, void: false, bytes: 0, changed_unix_s: 0 });
        found.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(found)
}

/// Returns the newest checkpoint of the run folder `run` that counts, going by names alone.
pub fn newest(run: &Folder) -> Result<Option<CheckpointName>, StorageError> {
    Ok(list(run)?.into_iter().rfind(Found::counts).map(|found| found.name))
}
