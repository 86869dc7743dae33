//! Why a checkpoint could not be read, verified or copied.

use crate::checkpoint_layout::{CheckpointName, ManifestError};
use crate::exit_code::ExitCode;
use crate::storage::StorageError;

/// Why a checkpoint could not be read, verified or copied.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointStoreError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The manifest is damaged or contradicts itself.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// An object does not match the manifest.
    #[error("{url}: {reason}: damaged; restore another checkpoint, or copy this one again")]
    Damaged {
        /// URL of the object.
        url: String,
        /// What does not match.
        reason: String,
    },
    /// The checkpoint would not count in the run folder that it is copied to.
    #[error("{name} would not count in {run}, whose attempts do not continue it; copy it to another run folder")]
    Void {
        /// URL of the target run folder.
        run: String,
        /// Name of the checkpoint.
        name: CheckpointName,
    },
}

impl CheckpointStoreError {
    /// Returns the exit code of a process that ends because of this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            CheckpointStoreError::Storage(error) => error.exit_code(),
            CheckpointStoreError::Manifest(_) | CheckpointStoreError::Damaged { .. } => ExitCode::Data,
            CheckpointStoreError::Void { .. } => ExitCode::Config,
        }
    }
}
