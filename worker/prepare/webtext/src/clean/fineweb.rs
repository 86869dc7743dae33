//! FineWeb's own rules (Penedo et al. 2024, <https://arxiv.org/abs/2406.17557>, section 3.6), as datatrove's
//! `fineweb_quality_filter.py` computes them.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::clean::checks::{Checks, Limit, share};
use crate::clean::punctuation::ends_sentence;
use crate::clean::repetition::Duplicates;
use crate::clean::rule::Rule;
use crate::clean::text::{characters, line_feeds, strip};
use crate::clean::words::Words;

/// What the lines of a document are like. 0 switches a rule off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FinewebOptions {
    /// Whether any of these rules is applied. With them, a document without a line that is not blank is dropped.
    pub enabled: bool,
    /// Least share of lines that end in punctuation. Default 0.12.
    pub min_punctuated_lines: f64,
    /// Largest share of short lines. Default 0.67.
    pub max_short_lines: f64,
    /// Characters up to which a line is short. Default 30.
    pub short_line_characters: usize,
    /// Largest share of characters in lines that came before. Default 0.01.
    pub max_duplicate_characters: f64,
    /// Most line breaks per word. Default 0.3.
    pub max_line_breaks: f64,
}

impl Default for FinewebOptions {
    fn default() -> Self {
        FinewebOptions {
            enabled: true,
            min_punctuated_lines: 0.12,
            max_short_lines: 0.67,
            short_line_characters: 30,
            max_duplicate_characters: 0.01,
            max_line_breaks: 0.3,
        }
    }
}

pub(crate) fn check(options: &FinewebOptions, words: &mut Words<'_, '_>, checks: &mut Checks) -> ControlFlow<()> {
    if !options.enabled {
        return ControlFlow::Continue(());
    }
    let text = words.text();
    let lines = || text.split('\n').filter(|line| !strip(line).is_empty());
    let (mut all, mut punctuated, mut short) = (0, 0, 0);
    for line in lines() {
        all += 1;
        punctuated += usize::from(ends_sentence(line));
        short += usize::from(characters(line) <= options.short_line_characters);
    }
    checks.check(Rule::Lines, Limit::AtLeast(1.0), all as f64)?;
    checks.at_least(Rule::PunctuatedLines, options.min_punctuated_lines, || share(punctuated, all))?;
    checks.at_most(Rule::ShortLines, options.max_short_lines, || share(short, all))?;
    let breaks = line_feeds(text);
    checks.at_most(Rule::DuplicateCharacters, options.max_duplicate_characters, || {
        share(Duplicates::among(lines()).characters, characters(text) - breaks)
    })?;
    checks.at_most(Rule::LineBreaks, options.max_line_breaks, || share(breaks, words.get().len()))
}
