//! What is known when an attempt has ended.

use common::exit_code::ExitCode;
use common::topology::Rank;

use super::Cause;
use super::last_heard::LastHeard;

/// What a rank said before it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankExit {
    /// Which.
    pub rank: Rank,
    /// What it was about to exit with.
    pub code: ExitCode,
    /// Its error.
    pub message: String,
}

/// How the process ended that the launcher had started: mpirun, or the only rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessEnd {
    /// It returned a status.
    Status(i32),
    /// A signal ended it.
    Signal(i32),
}

/// Why the launcher itself ended the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Killed {
    /// No rank advanced for so long.
    Stalled {
        /// `launch.stall_timeout_s`.
        stall_timeout_s: u64,
    },
    /// Not every rank reported in time.
    NotStarted {
        /// Which did not, with their hosts.
        missing: String,
        /// `launch.start_timeout_s`.
        start_timeout_s: u64,
    },
    /// A stop took longer than it may.
    OutOfGrace {
        /// `launch.grace_s`.
        grace_s: u64,
        /// The step that the stop had to wait for, where that has not ended.
        in_step: Option<u64>,
    },
    /// A stop before a first step: there was nothing to save.
    NotBegun,
    /// MPI could not start.
    NoMpi {
        /// Which rank says so; none where nobody can tell.
        rank: Option<Rank>,
    },
    /// A second SIGINT.
    EndNow,
    /// A rank said that it was about to exit, and its world did not end.
    Lingered,
    /// A rank left without a word, and the others did not end either.
    RankLost {
        /// Which.
        rank: Rank,
    },
    /// A newer attempt has taken the run over.
    Fenced {
        /// Which.
        reason: String,
    },
    /// Every rank had said that it was done, or stopped, but its processes did not end.
    Finished {
        /// What the ranks said.
        code: ExitCode,
    },
    /// There was no thread to listen to a rank.
    Unheard {
        /// Which.
        rank: Rank,
        /// Why.
        reason: String,
    },
    /// The worker does not fit this launcher.
    Misfit {
        /// Why, and what to do.
        reason: String,
    },
}

/// Everything that is known when an attempt has ended.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The first exit that a rank announced with a code other than done or stopped.
    pub first_failure: Option<RankExit>,
    /// Set where the launcher ended it.
    pub killed: Option<Killed>,
    /// What the place where the ranks ran says about the end, if it does.
    pub told: Option<Cause>,
    /// What the process returned.
    pub process: ProcessEnd,
    /// What mpirun itself printed last; empty where there is one rank.
    pub mpirun_words: Vec<String>,
    /// The first error that a rank printed.
    pub first_error: Option<(Rank, String)>,
    /// What each rank did last.
    pub last_heard: Vec<LastHeard>,
}
