//! Evidence of why an attempt has ended.

use common::exit_code::ExitCode;
use common::topology::Rank;

use super::Cause;
use super::last_heard::LastHeard;

/// Exit that a rank announced before it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankExit {
    /// Rank that announced it.
    pub rank: Rank,
    /// Exit code that the rank was about to return.
    pub code: ExitCode,
    /// Error message of the rank.
    pub message: String,
}

/// How the process ended that the launcher had started: mpirun, or the only rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessEnd {
    /// The process returned this exit status.
    Status(i32),
    /// A signal of this number ended the process.
    Signal(i32),
}

/// Why the launcher itself ended the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Killed {
    /// No rank advanced within `launch.stall_timeout_s`.
    Stalled {
        /// Seconds of `launch.stall_timeout_s`.
        stall_timeout_s: u64,
    },
    /// Not every rank reported within `launch.start_timeout_s`.
    NotStarted {
        /// Names of the missing ranks, with their hosts.
        missing: String,
        /// Seconds of `launch.start_timeout_s`.
        start_timeout_s: u64,
    },
    /// A stop took longer than `launch.grace_s`.
    OutOfGrace {
        /// Seconds of `launch.grace_s`.
        grace_s: u64,
        /// The step that the stop waited for, where that step has not ended.
        in_step: Option<u64>,
    },
    /// A stop came before the first step, when there was nothing to save.
    NotBegun,
    /// MPI could not start.
    NoMpi {
        /// Rank that says so; `None` where nobody can tell.
        rank: Option<Rank>,
    },
    /// A second SIGINT asked for an immediate end.
    EndNow,
    /// A rank announced its exit, and its world did not end.
    Lingered,
    /// A rank left without announcing an exit, and the others did not end either.
    RankLost {
        /// Rank that left.
        rank: Rank,
    },
    /// A newer attempt has taken over the run.
    Fenced {
        /// Message that names the newer attempt.
        reason: String,
    },
    /// Every rank had announced that it was done, or stopped, but its processes did not end.
    Finished {
        /// Exit code that the ranks announced.
        code: ExitCode,
    },
    /// The launcher had no thread to listen to a rank.
    Unheard {
        /// Rank that could not be heard.
        rank: Rank,
        /// Reason why there was no thread.
        reason: String,
    },
    /// The worker does not fit this launcher.
    Misfit {
        /// Reason, and what to do.
        reason: String,
    },
}

/// All evidence about the end of an attempt.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// First exit that a rank announced with a code other than done or stopped.
    pub first_failure: Option<RankExit>,
    /// Why the launcher ended the attempt; `None` where it did not.
    pub killed: Option<Killed>,
    /// Cause that the place where the ranks ran reports, if it does.
    pub told: Option<Cause>,
    /// How the started process ended.
    pub process: ProcessEnd,
    /// Last lines that mpirun itself printed; empty with a single rank.
    pub mpirun_words: Vec<String>,
    /// First error that a rank printed.
    pub first_error: Option<(Rank, String)>,
    /// What each rank did last.
    pub last_heard: Vec<LastHeard>,
}
