//! Why an attempt ended: evidence becomes one exit code and one block that a person can act on. Pure.
//!
//! - [`evidence`]: what is known when an attempt has ended. [`last_heard`]: what each rank did last.
//! - [`words`]: what the lines that ranks and mpirun print say of an end.
//! - [`weigh`]: [`Cause::of`] the evidence.
//!
//! Absent on purpose: who collects the evidence ([`crate::supervise`]), and whether to start again.

pub mod evidence;
pub mod last_heard;
mod weigh;
pub mod words;

use std::fmt;

use common::exit_code::ExitCode;
use common::topology::Rank;

use last_heard::LastHeard;

/// Of so many ranks a block tells what they did last.
const RANKS_TOLD_MAX: usize = 16;

/// Why an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// What the attempt counts as.
    pub code: ExitCode,
    /// Where it began, if one rank can be named.
    pub rank: Option<Rank>,
    /// One line.
    pub headline: String,
    /// What the rank, or mpirun, said about it; may be empty.
    pub message: String,
    /// Where several ranks have lost each other: what each did last, those first that are most likely to be why.
    pub last_heard: Vec<LastHeard>,
}

impl Cause {
    /// Too few hosts were there for ranks to start.
    pub fn hosts_missing(reason: String) -> Self {
        Cause::new(ExitCode::Communication, None, "no ranks could be started", reason)
    }

    /// What an attempt counts as, where it began, and what there is to say.
    pub fn new(code: ExitCode, rank: Option<Rank>, headline: impl Into<String>, message: impl Into<String>) -> Self {
        Cause { code, rank, headline: headline.into(), message: message.into(), last_heard: Vec::new() }
    }

    /// The block for people; `log_tail` are the last lines of the rank that it began at.
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
