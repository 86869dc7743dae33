//! What a check came to, as a line of a preflight.

use serde::{Deserialize, Serialize};

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is as it should be.
    Ok,
    /// The run would work, and might be slow, or end early.
    Warning,
    /// The run would fail.
    Failed,
}

/// One line of a preflight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// What it came to.
    pub verdict: Verdict,
    /// What was found and, where it is not as it should be, what to do.
    pub text: String,
}

impl Finding {
    /// All is well.
    pub fn ok(subject: &str, text: impl Into<String>) -> Self {
        Finding { subject: subject.to_owned(), verdict: Verdict::Ok, text: text.into() }
    }

    /// It would work.
    pub fn warning(subject: &str, text: impl Into<String>) -> Self {
        Finding { subject: subject.to_owned(), verdict: Verdict::Warning, text: text.into() }
    }

    /// It would not.
    pub fn failed(subject: &str, text: impl Into<String>) -> Self {
        Finding { subject: subject.to_owned(), verdict: Verdict::Failed, text: text.into() }
    }
}
