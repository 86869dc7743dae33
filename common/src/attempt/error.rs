//! Why a run cannot be had, or be gone on with.

use crate::exit_code::ExitCode;
use crate::storage::StorageError;

/// Why a run cannot be had, or be gone on with.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AttemptError {
    /// The run folder could not be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Another attempt is about to go on from a checkpoint, and nobody knows from which.
    #[error(
        "attempt {attempt} has claimed {run} and has not begun yet: it may go on from what would be deleted; try again once it \
         trains or has ended"
    )]
    Beginning {
        /// The run.
        run: String,
        /// Which.
        attempt: u32,
    },
    /// Another attempt lives.
    #[error(
        "{run} is in use: attempt {attempt} ({claimant}) holds it, and was alive a moment ago; stop it first, or use \
         another run.output"
    )]
    Held {
        /// The run.
        run: String,
        /// Who holds it.
        attempt: u32,
        /// Who that is.
        claimant: String,
    },
    /// A newer attempt has taken the run over.
    #[error(
        "attempt {mine} of {run} commits nothing any more: attempt {newer} has taken the run over, since this one had not \
         been heard from; it goes on from the newest checkpoint"
    )]
    Fenced {
        /// The run.
        run: String,
        /// Who asks.
        mine: u32,
        /// Who holds it now.
        newer: u32,
    },
    /// The run that it belongs to is not in the run folder any more.
    #[error(
        "attempt {mine} of {run} commits and deletes nothing any more: {object} {what}, so the run folder was deleted, or begun \
         anew, while this attempt ran; start it again to go on from what is there now, or with another run.output to leave \
         that alone"
    )]
    Vanished {
        /// The run.
        run: String,
        /// Who asks.
        mine: u32,
        /// What is not as it was.
        object: String,
        /// What has become of it.
        what: &'static str,
    },
    /// There is no number for another attempt.
    #[error(
        "{run} can have no further attempt: a claim in attempts/ has the highest number, 99999999; delete it if no attempt \
         made it, or use another run.output"
    )]
    Exhausted {
        /// The run.
        run: String,
    },
}

impl AttemptError {
    /// What a process that ends because of this exits with: neither that the run is taken nor that it has been taken over
    /// or deleted is mended by another start.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            AttemptError::Storage(error) => error.exit_code(),
            AttemptError::Held { .. }
            | AttemptError::Beginning { .. }
            | AttemptError::Fenced { .. }
            | AttemptError::Vanished { .. }
            | AttemptError::Exhausted { .. } => ExitCode::Config,
        }
    }

    /// Whether the run is another attempt's now, or another run's: who asked has to end.
    pub fn is_another_attempts(&self) -> bool {
        matches!(self, AttemptError::Fenced { .. } | AttemptError::Vanished { .. })
    }
}
