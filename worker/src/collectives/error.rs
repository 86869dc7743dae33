//! What can go wrong between ranks.

use common::exit_code::ExitCode;
use common::rank_message::MessageError;

/// Why ranks could not exchange something.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CollectivesError {
    /// An operation did not end in time.
    #[error(
        "{operation} on host {host} did not end within {timeout_s} s (parallel.timeout_s); {last}; another rank is lost \
         or stuck: what each rank did last says which"
    )]
    TimedOut {
        /// Name and purpose of the operation.
        operation: String,
        /// Host of this rank.
        host: String,
        /// Time-out in seconds.
        timeout_s: u64,
        /// The last operation that ended on this rank, in words.
        last: String,
    },
    /// NCCL failed.
    #[error(
        "{operation} on host {host} failed: {message}; another rank or its network is likely to have failed first: what \
         each rank did last says which, and NCCL_DEBUG=INFO makes NCCL say more"
    )]
    Nccl {
        /// Name and purpose of the operation.
        operation: String,
        /// Host of this rank.
        host: String,
        /// NCCL's message.
        message: String,
    },
    /// The communication thread has ended.
    #[error("{operation}: the communication thread has ended")]
    Closed {
        /// Name and purpose of the operation.
        operation: String,
    },
    /// Values that must be equal on all ranks are not.
    #[error("the ranks do not agree on {what}; this is a bug or broken hardware, start again")]
    Disagreement {
        /// Name of the values.
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
