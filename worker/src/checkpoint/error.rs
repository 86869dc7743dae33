//! Why a checkpoint could not be saved or restored, and what a process then exits with.

use std::io;

use common::attempt::AttemptError;
use common::checkpoint_layout::CheckpointName;
use common::checkpoint_store::CheckpointStoreError;
use common::exit_code::ExitCode;
use common::sha256::Sha256Sum;
use common::storage::StorageError;

/// Why a checkpoint could not be saved or restored.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The run is another attempt's.
    #[error(transparent)]
    Attempt(#[from] AttemptError),
    /// The manifest is damaged, is another checkpoint's, or cannot be read.
    #[error(transparent)]
    Store(#[from] CheckpointStoreError),
    /// The manifest lists an object that is not there.
    #[error("{url} does not exist, expected {expected} bytes: the checkpoint is incomplete; restore another one")]
    Missing {
        /// The object.
        url: String,
        /// Size from the manifest.
        expected: u64,
    },
    /// An object has another size than the manifest says.
    #[error("{url}: {got} bytes, expected {expected}: truncated or overwritten; restore another checkpoint")]
    Size {
        /// The object.
        url: String,
        /// From the manifest.
        expected: u64,
        /// In the store.
        got: u64,
    },
    /// An object has other content than the manifest says.
    #[error("{url}: bytes {start}..{end} have SHA-256 {got}, expected {expected}: damaged; restore another checkpoint")]
    Hash {
        /// The object.
        url: String,
        /// First byte that was hashed.
        start: u64,
        /// One past the last.
        end: u64,
        /// From the manifest.
        expected: Sha256Sum,
        /// Of what was read.
        got: Sha256Sum,
    },
    /// An object is what its writer wrote, but not what the manifest needs it to be.
    #[error("{url}: {reason}: not a part of this checkpoint; restore another one")]
    Content {
        /// The object.
        url: String,
        /// What does not fit.
        reason: String,
    },
    /// Another rank has found its part of a checkpoint damaged.
    #[error("rank {rank}: {reason}")]
    OnRank {
        /// Which one.
        rank: usize,
        /// What it found.
        reason: String,
    },
    /// The checkpoint is of another model than the config describes.
    #[error(
        "{url}: tensor {tensor} is {got} in the checkpoint, expected {expected}: [model] in the config describes \
         another model than the one that was saved; use the run's own config, or another run.output"
    )]
    Model {
        /// The checkpoint.
        url: String,
        /// The first tensor that differs.
        tensor: String,
        /// From the config.
        expected: String,
        /// From the manifest.
        got: String,
    },
    /// There are committed checkpoints, and none of them verifies.
    #[error(
        "{url}: none of its {} checkpoints can be restored:\n  {}\ncopy one back from elsewhere, or begin anew with `launcher train \
         --from-scratch`", reasons.len(), reasons.join("\n  ")
    )]
    NoneVerifies {
        /// The folder of the checkpoints.
        url: String,
        /// Each one's fault, newest first.
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
        /// Of the run, on this host.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The snapshot that was to be saved is not what it says.
    #[error("cannot save {url}: {reason}; this is a bug in Convoy, please report it")]
    Snapshot {
        /// The object.
        url: String,
        /// What does not fit.
        reason: String,
    },
}

impl CheckpointError {
    /// What a process that ends because of this exits with.
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

    /// Whether another attempt has taken the run over, so that saving again is no use.
    pub fn is_fenced(&self) -> bool {
        matches!(self, CheckpointError::Attempt(error) if error.is_another_attempts())
    }

    /// Whether there is no such checkpoint, although a listing may still show it.
    pub fn is_gone(&self) -> bool {
        let error = match self {
            CheckpointError::Storage(error) | CheckpointError::Store(CheckpointStoreError::Storage(error)) => error,
            _ => return false,
        };
        matches!(error, StorageError::NotFound { .. })
    }

    /// Whether the checkpoint itself is at fault, so that an older one may do; not so when the store is away, access
    /// is denied, or the config is for another model.
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
