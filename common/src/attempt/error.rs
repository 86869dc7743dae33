//! Why a run cannot be claimed or continued.

use crate::exit_code::ExitCode;
use crate::storage::StorageError;

/// Why a run cannot be claimed or continued.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AttemptError {
    /// The run folder cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Another attempt is about to continue from a checkpoint, and nobody knows from which.
    #[error(
        "attempt {attempt} has claimed {run} and has not begun yet: it may go on from what would be deleted; try again once it \
         trains or has ended"
    )]
    Beginning {
        /// URL of the run.
        run: String,
        /// Number of the other attempt.
        attempt: u32,
    },
    /// Another attempt that lives holds the run.
    #[error(
        "{run} is in use: attempt {attempt} ({claimant}) holds it, and was alive a moment ago; stop it first, or use \
         another run.output"
    )]
    Held {
        /// URL of the run.
        run: String,
        /// Number of the attempt that holds the run.
        attempt: u32,
        /// Description of its claimant.
        claimant: String,
    },
    /// A newer attempt has taken the run over.
    #[error(
        "attempt {mine} of {run} commits nothing any more: attempt {newer} has taken the run over, since this one had not \
         been heard from; it goes on from the newest checkpoint"
    )]
    Fenced {
        /// URL of the run.
        run: String,
        /// Number of this attempt.
        mine: u32,
        /// Number of the attempt that holds the run now.
        newer: u32,
    },
    /// The run that this attempt belongs to is no longer in the run folder.
    #[error(
        "attempt {mine} of {run} commits and deletes nothing any more: {object} {what}, so the run folder was deleted, or begun \
         anew, while this attempt ran; start it again to go on from what is there now, or with another run.output to leave \
         that alone"
    )]
    Vanished {
        /// URL of the run.
        run: String,
        /// Number of this attempt.
        mine: u32,
        /// Object that has changed.
        object: String,
        /// What has become of the object.
        what: &'static str,
    },
    /// No number is left for another attempt.
    #[error(
        "{run} can have no further attempt: a claim in attempts/ has the highest number, 99999999; delete it if no attempt \
         made it, or use another run.output"
    )]
    Exhausted {
        /// URL of the run.
        run: String,
    },
}

impl AttemptError {
    /// Returns the exit code of a process that ends because of this error. If the run is held, taken over or deleted,
    /// another start does not help.
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

    /// Returns whether the run now belongs to another attempt or is another run, so that the caller has to end.
    pub fn is_another_attempts(&self) -> bool {
        matches!(self, AttemptError::Fenced { .. } | AttemptError::Vanished { .. })
    }
}
