//! Result of a check, as a line of a preflight.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// Figures of the text, for programs, by name. A finding that has some describes the run, and is also shown when a run
    /// starts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, Value>,
}

impl Finding {
    /// Returns a finding that nothing is wrong.
    pub fn ok(subject: &str, text: impl Into<String>) -> Self {
        Self::of(subject, Verdict::Ok, text.into())
    }

    /// Returns a finding that the run would work, but might be slow or end early.
    pub fn warning(subject: &str, text: impl Into<String>) -> Self {
        Self::of(subject, Verdict::Warning, text.into())
    }

    /// Returns a finding that the run would fail.
    pub fn failed(subject: &str, text: impl Into<String>) -> Self {
        Self::of(subject, Verdict::Failed, text.into())
    }

    fn of(subject: &str, verdict: Verdict, text: String) -> Self {
        Finding { subject: subject.to_owned(), verdict, text, figures: BTreeMap::new() }
    }

    /// Adds a figure of the text.
    #[must_use]
    pub fn with(mut self, name: &str, figure: impl Into<Value>) -> Self {
        self.figures.insert(name.to_owned(), figure.into());
        self
    }

    /// Returns whether the finding is shown when a run starts: it describes the run, or something is wrong.
    pub fn is_for_a_start(&self) -> bool {
        self.verdict != Verdict::Ok || !self.figures.is_empty()
    }

    /// Formats the finding as a line of a run that starts: `model       3,374,720 parameters` in a column of subjects, or,
    /// where something is wrong, `validation: none`.
    pub fn line(&self) -> String {
        match self.verdict {
            Verdict::Ok => format!("{:<11} {}", self.subject, self.text),
            Verdict::Warning | Verdict::Failed => format!("{}: {}", self.subject, self.text),
        }
    }
}
