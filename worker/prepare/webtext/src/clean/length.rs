//! Documents that are too short.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::clean::checks::Checks;
use crate::clean::rule::Rule;
use crate::clean::text::characters;
use crate::clean::words::Words;

/// Minimum length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct LengthOptions {
    /// Least characters. 0 for any number.
    pub min_characters: usize,
    /// Least words. 0 for any number.
    pub min_words: usize,
}

pub(crate) fn check(options: &LengthOptions, words: &mut Words<'_, '_>, checks: &mut Checks) -> ControlFlow<()> {
    checks.at_least(Rule::Characters, options.min_characters as f64, || characters(words.text()) as f64)?;
    checks.at_least(Rule::Words, options.min_words as f64, || words.get().len() as f64)
}
