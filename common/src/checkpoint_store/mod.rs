//! The checkpoints of a run as they lie in its store: what anyone can do with them who has no tensors.
//!
//! - [`list`], [`newest`], [`Found`]: what is there, by names alone.
//! - [`read_manifest`]: the table of contents of one.
//! - [`commit()`]: a save becomes one.
//! - [`prune()`]: old ones go, [`Garbage`] says which.
//! - [`verify()`], [`verify_objects`]: every byte of one is hashed.
//! - [`copy()`]: one goes to another run folder, in whatever store that is.
//!
//! Saving and restoring are the worker's: they are about tensors.

mod commit;
mod copy;
mod found;
mod prune;
mod retention;
mod verify;

use crate::attempt::History;
use crate::attempt::surroundings::{Surroundings, blocking};
use crate::checkpoint_layout::{CHECKPOINTS_FOLDER, CheckpointName, MANIFEST_NAME, Manifest, ManifestError};
use crate::exit_code::ExitCode;
use crate::storage::{Folder, StorageError};
pub use commit::commit;
#[cfg(test)]
pub(crate) use commit::commit_in;
pub use copy::copy;
pub use found::Found;
#[cfg(test)]
pub(crate) use prune::prune_in;
pub use prune::{prune, prune_host, pruned};
pub use retention::{Garbage, ORPHAN_GRACE_S};
pub use verify::{verify, verify_objects};

/// Why a checkpoint could not be read, verified or copied.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointStoreError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The manifest is damaged or contradicts itself.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// An object is not what the manifest says.
    #[error("{url}: {reason}: damaged; restore another checkpoint, or copy this one again")]
    Damaged {
        /// The object.
        url: String,
        /// What does not fit.
        reason: String,
    },
    /// It would not count where it is copied to.
    #[error("{name} would not count in {run}, whose attempts do not continue it; copy it to another run folder")]
    Void {
        /// Where it was to go.
        run: String,
        /// The checkpoint.
        name: CheckpointName,
    },
}

impl CheckpointStoreError {
    /// What a process that ends because of this exits with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            CheckpointStoreError::Storage(error) => error.exit_code(),
            CheckpointStoreError::Manifest(_) | CheckpointStoreError::Damaged { .. } => ExitCode::Data,
            CheckpointStoreError::Void { .. } => ExitCode::Config,
        }
    }
}

/// The folder of checkpoint `name` in the run folder `run`.
pub fn folder_of(run: &Folder, name: &CheckpointName) -> Folder {
    run.folder(&path_of(name))
}

/// The same, relative to the run folder.
pub(crate) fn path_of(name: &CheckpointName) -> String {
    format!("{CHECKPOINTS_FOLDER}/{name}")
}

/// The checkpoints of the run folder `run`, whether or not they count, oldest first.
pub fn list(run: &Folder) -> Result<Vec<Found>, StorageError> {
    blocking(list_in(run))
}

pub(crate) async fn list_in(run: &impl Surroundings) -> Result<Vec<Found>, StorageError> {
    // Attempts last: one that begins between the two looks voids what it did not see.
    let objects = run.list(CHECKPOINTS_FOLDER).await?;
    let history = History::of(run).await?;
    let mut found = Found::among(&objects, &history);
    let is_missing = |kept: &&CheckpointName| !found.iter().any(|found| found.committed && found.name == **kept);
    if let Some(kept) = history.kept().filter(is_missing)
        && run.exists(&format!("{}/{MANIFEST_NAME}", path_of(kept))).await?
    {
        // The listing is behind.
        found.retain(|found| found.name != *kept);
        found.push(Found { name: kept.clone(), committed: true, void: false, bytes: 0, changed_unix_s: 0 });
        found.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(found)
}

/// The newest checkpoint of the run folder `run`, going by names alone.
pub fn newest(run: &Folder) -> Result<Option<CheckpointName>, StorageError> {
    Ok(list(run)?.into_iter().rfind(Found::counts).map(|found| found.name))
}

/// The manifest of checkpoint `name`, which must be committed.
pub fn read_manifest(run: &Folder, name: &CheckpointName) -> Result<Manifest, CheckpointStoreError> {
    let folder = folder_of(run, name);
    let url = folder.url_of(MANIFEST_NAME);
    let manifest = Manifest::parse(&url, &folder.get(MANIFEST_NAME)?)?;
    if manifest.name != *name {
        let reason = format!("it belongs to {}, not into this folder", manifest.name);
        return Err(ManifestError { url, reason }.into());
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests;
