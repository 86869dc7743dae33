//! What was decided of a document, and why.

use std::borrow::Cow;

use crate::clean::c4::RemovedLines;
use crate::clean::checks::Check;
use crate::clean::language::Detected;
use crate::clean::normalise::Changes;

/// What was decided of a document.
#[derive(Clone, Debug, Default)]
pub struct Verdict<'t> {
    /// Checks in the order in which they were made: up to the one that dropped the document, or all ([`Depth`](crate::clean::Depth)).
    pub checks: Vec<Check>,
    /// What the detector says, if it was asked.
    pub language: Option<Detected>,
    /// What normalising changed.
    pub changes: Changes,
    /// What the C4 filter removed, if the document came that far.
    pub removed: RemovedLines,
    /// Text that is left of a document that is kept. Of one that is dropped, the text that its last check was of.
    pub text: Cow<'t, str>,
}

impl Verdict<'_> {
    /// Returns the check that drops the document: the first that was not passed.
    pub fn dropped(&self) -> Option<&Check> {
        self.checks.iter().find(|check| !check.passed)
    }

    /// Returns whether the document is kept.
    pub fn kept(&self) -> bool {
        self.dropped().is_none()
    }

    /// Returns whether a tokenizer would see another text than the document had.
    pub fn changed(&self) -> bool {
        matches!(self.text, Cow::Owned(_))
    }
}
