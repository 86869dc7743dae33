//! Reasons why a checkpoint could not be saved or restored, and the exit code for each.

use std::io;

use common::attempt::AttemptError;
use common::checkpoint_layout::CheckpointName;
use common::checkpoint_store::CheckpointStoreError;
use common::exit_code::ExitCode;
use common::sha256::Sha256Sum;
use common::storage::StorageError;

/// Reason why a checkpoint could not be saved or restored.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Another attempt holds the run.
    #[error(transparent)]
    Attempt(#[from] AttemptError),
    /// The manifest is damaged, belongs to another checkpoint, or cannot be read.
    #[error(transparent)]
    Store(#[from] CheckpointStoreError),
    /// An object that the manifest lists does not exist.
    #[error("{url} does not exist, expected {expected} bytes: the checkpoint is incomplete; restore another one")]
    Missing {
        /// URL of the object.
        url: String,
        /// Size from the manifest, in bytes.
        expected: u64,
    },
    /// An object does not have the size that the manifest says.
    #[error("{url}: {got} bytes, expected {expected}: truncated or overwritten; restore another checkpoint")]
    Size {
        /// URL of the object.
        url: String,
        /// Size from the manifest, in bytes.
        expected: u64,
        /// Size in the store, in bytes.
        got: u64,
    },
    /// An object does not have the content that the manifest says.
    #[error("{url}: bytes {start}..{end} have SHA-256 {got}, expected {expected}: damaged; restore another checkpoint")]
    Hash {
        /// URL of the object.
        url: String,
        /// First byte that was hashed.
        start: u64,
        /// One past the last byte that was hashed.
        end: u64,
        /// Hash from the manifest.
        expected: Sha256Sum,
        /// Hash of the bytes that were read.
        got: Sha256Sum,
    },
    /// An object is as its writer wrote it, but does not fit the manifest.
    #[error("{url}: {reason}: not a part of this checkpoint; restore another one")]
    Content {
        /// URL of the object.
        url: String,
        /// What does not fit.
        reason: String,
    },
    /// Another rank has found its part of a checkpoint damaged.
    #[error("rank {rank}: {reason}")]
    OnRank {
        /// The rank that found the damage.
        rank: usize,
        /// The damage, as that rank describes it.
        reason: String,
    },
    /// The checkpoint holds another model than the config describes.
    #[error(
        "{url}: tensor {tensor} is {got} in the checkpoint, expected {expected}: [model] in the config describes \
         another model than the one that was saved; use the run's own config, or another run.output"
    )]
    Model {
        /// URL of the checkpoint.
        url: String,
        /// Name of the first tensor that differs.
        tensor: String,
        /// Its shape in the config.
        expected: String,
        /// Its shape in the manifest.
        got: String,
    },
    /// Committed checkpoints exist, but none of them can be restored.
    #[error(
        "{url}: none of its {} checkpoints can be restored:\n  {}\ncopy one back from elsewhere, or begin anew: the same command with \
         --from-scratch", reasons.len(), reasons.join("\n  ")
    )]
    NoneVerifies {
        /// URL of the folder of checkpoints.
        url: String,
        /// Fault of each checkpoint, newest first.
        reasons: Vec<String>,
    },
    /// A rank's run folder lacks what others find in theirs.
    #[error("rank {rank} sees no checkpoint in {url}, others see {newest}: all ranks must reach the same run.output")]
    Unseen {
        /// Which one.
        rank: usize,
        /// The run folder.
        url: String,
        /// What others see.
        newest: CheckpointName,
    },
    /// The folder on this host is no place of this user's own.
    #[error("checkpoint.local_dir: {path}: {source}")]
    HostFolder {
        /// Path of the run's folder on this host.
        path: String,
        /// Reason why the folder is not used.
        source: io::Error,
    },
    /// The snapshot to be saved is inconsistent.
    #[error("cannot save {url}: {reason}; this is a bug in Convoy, please report it")]
    Snapshot {
        /// URL of the object.
        url: String,
        /// What does not fit.
        reason: String,
    },
}

impl CheckpointError {
    /// Returns the exit code of a process that ends because of this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            CheckpointError::Storage(error) => error.exit_code(),
            CheckpointError::Attempt(error) => error.exit_code(),
            CheckpointError::Model { .. } | CheckpointError::Unseen { .. } | CheckpointError::HostFolder { .. } => {
                ExitCode::Config
            }
            CheckpointError::Snapshot { .. } => ExitCode::Bug,
            CheckpointError::Store(error) => error.exit_code(),
            CheckpointError::Missing { .. }
            | CheckpointError::Size { .. }
            | CheckpointError::Hash { .. }
            | CheckpointError::Content { .. }
            | CheckpointError::OnRank { .. }
            | CheckpointError::NoneVerifies { .. } => ExitCode::Data,
        }
    }

    /// Returns whether another attempt has taken the run over, so that saving again is of no use.
    pub fn is_fenced(&self) -> bool {
        matches!(self, CheckpointError::Attempt(error) if error.is_another_attempts())
    }

    /// Returns whether the checkpoint does not exist, although a listing may still show it.
    pub fn is_gone(&self) -> bool {
        let error = match self {
            CheckpointError::Storage(error) | CheckpointError::Store(CheckpointStoreError::Storage(error)) => error,
            _ => return false,
        };
        matches!(error, StorageError::NotFound { .. })
    }

    /// Returns whether the checkpoint itself is damaged, so that an older one may work. False when the store is
    /// unreachable, access is denied, or the config is for another model.
    pub fn is_corruption(&self) -> bool {
        matches!(
            self,
            CheckpointError::Store(CheckpointStoreError::Manifest(_) | CheckpointStoreError::Damaged { .. })
                | CheckpointError::Missing { .. }
                | CheckpointError::Size { .. }
                | CheckpointError::Hash { .. }
                | CheckpointError::Content { .. }
                | CheckpointError::OnRank { .. }
        )
    }
}
