//! Checks of a document by rules, as they are made.

use std::ops::ControlFlow;

use serde::Serialize;

use crate::clean::rule::Rule;

/// How far a document is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Up to the first rule that drops it.
    UntilDropped,
    /// By all rules, for their measures, unless the document is longer than
    /// [`document_bytes`](crate::clean::CleanOptions::document_bytes). What comes after C4's rules is measured on the text that they leave, or, if they drop the
    /// document, on the text that they were given.
    AllRules,
}

/// What a measure has to be for a document to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// More than this.
    Above(f64),
}

impl Limit {
    /// Returns whether a measure keeps the document.
    pub fn allows(self, measure: f64) -> bool {
        match self {
            Limit::AtLeast(limit) => measure >= limit,
            Limit::AtMost(limit) => measure <= limit,
            Limit::Above(limit) => measure > limit,
        }
    }
}

/// A rule that was applied to a document.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Check {
    /// The rule.
    pub rule: Rule,
    /// What was measured. Never NaN or infinite: a share of nothing is 0.
    pub measure: f64,
    /// What it has to be.
    pub limit: Limit,
    /// Whether it is.
    pub passed: bool,
}

/// Checks as they are made.
pub(crate) struct Checks {
    pub(crate) made: Vec<Check>,
    depth: Depth,
}

impl Checks {
    pub(crate) fn new(depth: Depth) -> Self {
        Checks { made: Vec::with_capacity(Rule::ALL.len()), depth }
    }

    /// Returns whether checks go on after one that drops the document.
    pub(crate) fn all(&self) -> bool {
        self.depth == Depth::AllRules
    }

    /// Records a check. Breaks off if it drops the document and no more checks are asked for.
    pub(crate) fn check(&mut self, rule: Rule, limit: Limit, measure: f64) -> ControlFlow<()> {
        debug_assert!(measure.is_finite(), "{rule}: {measure}");
        let passed = limit.allows(measure);
        self.made.push(Check { rule, measure, limit, passed });
        if passed || self.all() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Measures, and drops the document above `limit`; 0 is for a rule that is switched off.
    pub(crate) fn at_most(&mut self, rule: Rule, limit: f64, measure: impl FnOnce() -> f64) -> ControlFlow<()> {
        if limit == 0.0 { ControlFlow::Continue(()) } else { self.check(rule, Limit::AtMost(limit), measure()) }
    }

    /// Measures, and drops the document below `limit`; 0 is for a rule that is switched off.
    pub(crate) fn at_least(&mut self, rule: Rule, limit: f64, measure: impl FnOnce() -> f64) -> ControlFlow<()> {
        if limit == 0.0 { ControlFlow::Continue(()) } else { self.check(rule, Limit::AtLeast(limit), measure()) }
    }
}

/// Returns a share; of nothing, 0.
pub(crate) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
