//! What can go wrong between ranks.

use common::exit_code::ExitCode;
use common::rank_message::MessageError;

/// Why ranks could not exchange something.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CollectivesError {
    /// The operation did not end in time.
    #[error(
        "{operation} on host {host} did not end within {timeout_s} s (parallel.timeout_s); {last}; another rank is lost \
         or stuck: what each rank did last says which"
    )]
    TimedOut {
        /// What, and for what.
        operation: String,
        /// Of this rank.
        host: String,
        /// How long.
        timeout_s: u64,
        /// What this rank had done before.
        last: String,
    },
    /// NCCL failed.
    #[error(
        "{operation} on host {host} failed: {message}; another rank or its network is likely to have failed first: what \
         each rank did last says which, and NCCL_DEBUG=INFO makes NCCL say more"
    )]
    Nccl {
        /// What, and for what.
        operation: String,
        /// Of this rank.
        host: String,
        /// NCCL's words.
        message: String,
    },
    /// The thread that communicates has ended.
    #[error("{operation}: the communication thread has ended")]
    Closed {
        /// What, and for what.
        operation: String,
    },
    /// Values that must be equal on all ranks are not.
    #[error("the ranks do not agree on {what}; this is a bug or broken hardware, start again")]
    Disagreement {
        /// On what.
        what: &'static str,
    },
    /// What ranks tell each other did not arrive.
    #[error(transparent)]
    Message(#[from] MessageError),
}

impl CollectivesError {
    /// What a process that ends because of this exits with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            CollectivesError::Message(error) => error.exit_code(),
            // To start again is what helps against each of these.
            CollectivesError::TimedOut { .. }
            | CollectivesError::Nccl { .. }
            | CollectivesError::Closed { .. }
            | CollectivesError::Disagreement { .. } => ExitCode::Communication,
        }
    }
}
