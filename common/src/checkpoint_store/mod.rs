//! The checkpoints of a run as they lie in its store: what anyone can do with them who has no tensors.
//!
//! - [`list`], [`newest`]: what is there, by names alone.
//! - [`read_manifest`]: the table of contents of one.
//! - [`prune`]: old ones go.
//! - [`verify`], [`verify_objects`]: every byte of one is hashed.
//! - [`copy`]: one goes to another run folder, in whatever store that is.
//!
//! Saving and restoring are the worker's: they are about tensors.

mod copy;
mod prune;
mod verify;

use crate::attempt::History;
use crate::checkpoint_layout::{CHECKPOINTS_FOLDER, CheckpointName, Found, MANIFEST_NAME, Manifest, ManifestError};
use crate::storage::{Folder, StorageError};
use crate::worker_contract::ExitCode;
pub use copy::copy;
pub use prune::{prune, prune_host, pruned};
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
    #[error("{name} would not count in {run}, which went on from an older checkpoint; copy it to another run folder")]
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
    run.folder(CHECKPOINTS_FOLDER).folder(&name.to_string())
}

/// The checkpoints of the run folder `run`, whether or not they count, oldest first.
pub fn list(run: &Folder) -> Result<Vec<Found>, StorageError> {
    // Attempts last: one that claims the run between the two listings voids what it did not see.
    let objects = run.folder(CHECKPOINTS_FOLDER).list()?;
    Ok(Found::among(&objects, &History::read(run)?))
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
