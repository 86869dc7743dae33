//! What ends a job on a rank, and what the process then exits with.

use std::io;

use common::attempt::AttemptError;
use common::config::ConfigError;
use common::exit_code::ExitCode;
use common::start::StartError;
use common::storage::StorageError;

use crate::checkpoint::CheckpointError;
use crate::collectives::CollectivesError;
use crate::collectives::mpi;
use crate::collectives::nccl;
use crate::data::DataError;
use crate::evaluate::error::EvaluateError;
use crate::generate::error::GenerateError;
use crate::libtorch::cuda::CudaError;
use crate::world::error::WorldError;

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The config was refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The config differs from the checkpoint's where that cannot be or nobody has accepted it, in the words of
    /// [`common::config::change`].
    #[error("{0}")]
    RefusedChange(String),
    /// This rank cannot take its place among the others.
    #[error(transparent)]
    World(#[from] WorldError),
    /// Hosts, or what runs on them, do not fit together; the findings that say so.
    #[error("the ranks do not fit together: {0}")]
    UnfitRanks(String),
    /// Tokens could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A checkpoint could not be saved or restored.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// No text can be drawn as it was asked for.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// A checkpoint cannot be evaluated.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The run folder could not be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The run is another attempt's.
    #[error(transparent)]
    Attempt(#[from] AttemptError),
    /// The run may not start, by what its folder holds.
    #[error(transparent)]
    Refused(#[from] StartError),
    /// MPI could not be started.
    #[error(transparent)]
    Start(#[from] mpi::StartError),
    /// NCCL could not be started.
    #[error(transparent)]
    Nccl(#[from] nccl::StartError),
    /// There is no GPU, and the config wants one.
    #[error("run.device = \"cuda\": {0}")]
    Cuda(#[from] CudaError),
    /// Ranks lost each other, or do not understand each other.
    #[error(transparent)]
    Collectives(#[from] CollectivesError),
    /// Ranks do not hold the same state.
    #[error("{0}")]
    RanksDiffer(String),
    /// The launcher is gone.
    #[error("{0}")]
    LauncherLost(String),
    /// A thread that a rank needs could not be started.
    #[error(
        "no thread can be started: {0}; raise this host's limits on processes and memory (ulimit -u, ulimit -v, the cgroup's \
         pids.max)"
    )]
    Thread(#[source] io::Error),
    /// A checkpoint that had to be saved was not.
    #[error("{message}")]
    Save {
        /// Of the rank that failed.
        code: ExitCode,
        /// What failed, and on which rank.
        message: String,
    },
    /// Training does not converge.
    #[error(
        "step {step}: the norm of the gradients is {norm}, and {} skipped because theirs was not finite or too large \
         (optimizer.skip_z_score); lower optimizer.peak_learning_rate, and go back to a checkpoint before what led to this: \
         `launcher train --from STEP --accept-change optimizer.peak_learning_rate`, with a step of `launcher checkpoints list`",
        if *skipped == 1 { "1 update was".to_owned() } else { format!("{skipped} updates in a row were") }
    )]
    BadNorm {
        /// The last of them.
        step: u64,
        /// Of its gradients.
        norm: f64,
        /// How many.
        skipped: u64,
    },
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Libtorch(#[from] tch::TchError),
}

impl JobError {
    /// What the process exits with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            JobError::Config(_)
            | JobError::RefusedChange(_)
            | JobError::UnfitRanks(_)
            | JobError::Generate(_)
            | JobError::Cuda(_) => ExitCode::Config,
            JobError::World(error) => error.exit_code(),
            JobError::Evaluate(error) => error.exit_code(),
            JobError::Collectives(error) | JobError::Nccl(nccl::StartError::Collectives(error)) => error.exit_code(),
            JobError::Nccl(nccl::StartError::NoNccl(_) | nccl::StartError::NoGpu) => ExitCode::Config,
            JobError::Data(error) => error.exit_code(),
            JobError::Checkpoint(error) => error.exit_code(),
            JobError::Storage(error) => error.exit_code(),
            JobError::Attempt(error) => error.exit_code(),
            JobError::Refused(error) => error.exit_code(),
            // To start again is what helps against each of these.
            JobError::Nccl(_)
            | JobError::Start(_)
            | JobError::RanksDiffer(_)
            | JobError::LauncherLost(_)
            | JobError::Thread(_) => ExitCode::Communication,
            JobError::Save { code, .. } => *code,
            JobError::BadNorm { .. } => ExitCode::Numeric,
            JobError::Libtorch(_) => ExitCode::Bug,
        }
    }
}
