//! Decides why an attempt ended: evidence becomes one exit code and one block that a person can act on. Pure.
//!
//! - [`evidence`]: everything known when an attempt has ended. [`last_heard`]: what each rank did last.
//! - [`said_errors`]: what ranks have said already. [`words`]: what lines that ranks and mpirun print say about an end.
//! - [`weigh`]: [`Cause::of`] the evidence.
//!
//! Absent on purpose: who collects the evidence ([`crate::supervise`]), and whether to start again.

pub mod evidence;
pub mod last_heard;
pub mod said_errors;
mod weigh;
pub mod words;

use std::fmt;

use common::exit_code::ExitCode;
use common::topology::Rank;

use last_heard::LastHeard;

/// Longest list of ranks in a block that says what each did last.
const RANKS_TOLD_MAX: usize = 16;

/// Why an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Exit code of the attempt.
    pub code: ExitCode,
    /// Rank at which the failure began, if one can be named.
    pub rank: Option<Rank>,
    /// Summary in one line.
    pub headline: String,
    /// What the rank, or mpirun, said about the cause; may be empty.
    pub message: String,
    /// What each rank did last, the likeliest culprits first; empty unless several ranks have lost each other.
    pub last_heard: Vec<LastHeard>,
}

impl Cause {
    /// Returns the cause of an attempt for which too few hosts were there.
    pub fn hosts_missing(reason: String) -> Self {
        Cause::new(ExitCode::Communication, None, "no ranks could be started", reason)
    }

    /// Creates a cause without a record of what ranks did last.
    pub fn new(code: ExitCode, rank: Option<Rank>, headline: impl Into<String>, message: impl Into<String>) -> Self {
        Cause { code, rank, headline: headline.into(), message: message.into(), last_heard: Vec::new() }
    }

    /// Formats the block for people; `log_tail` has the last lines of the rank at which the failure began.
    pub fn block(&self, attempt: u32, log_tail: &[String]) -> String {
        let mut block = format!("attempt {attempt} ended: {self}");
        for line in self.message.lines() {
            block.push_str(&format!("\n  {line}"));
        }
        if !self.last_heard.is_empty() {
            block.push_str("\n  what each rank did last:");
        }
        for heard in self.last_heard.iter().take(RANKS_TOLD_MAX) {
            block.push_str(&format!("\n    {heard}"));
        }
        if let more @ 1.. = self.last_heard.len().saturating_sub(RANKS_TOLD_MAX) {
            block.push_str(&format!("\n    and {more} more"));
        }
        if let (Some(rank), false) = (self.rank, log_tail.is_empty()) {
            block.push_str(&format!("\n  last lines of rank {rank}:"));
            for line in log_tail {
                block.push_str(&format!("\n  | {line}"));
            }
        }
        block
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (exit {}: {})", self.headline, self.code.number(), self.code.meaning())
    }
}
