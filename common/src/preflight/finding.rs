//! Result of a check, as a line of a preflight.

use serde::{Deserialize, Serialize};

/// Result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is wrong.
    Ok,
    /// The run would work, but might be slow or end early.
    Warning,
    /// The run would fail.
    Failed,
}

/// One line of a preflight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Name of what was checked.
    pub subject: String,
    /// Result of the check.
    pub verdict: Verdict,
    /// Facts that were found and, if something is wrong, what to do about it.
    pub text: String,
}

impl Finding {
    /// Returns a finding that nothing is wrong.
    pub fn ok(subject: &str, text: impl Into<String>) -> Self {
        Finding { subject: subject.to_owned(), verdict: Verdict::Ok, text: text.into() }
    }

    /// Returns a finding that the run would work, but might be slow or end early.
    pub fn warning(subject: &str, text: impl Into<String>) -> Self {
        Finding { subject: subject.to_owned(), verdict: Verdict::Warning, text: text.into() }
    }

    /// Returns a finding that the run would fail.
    pub fn failed(subject: &str, text: impl Into<String>) -> Self {
        Finding { subject: subject.to_owned(), verdict: Verdict::Failed, text: text.into() }
    }
}
