//! Gopher's repetition rules (Rae et al. 2021, <https://arxiv.org/abs/2112.11446>, table A1), as datatrove's
//! `gopher_repetition_filter.py` computes them.

use std::ops::ControlFlow;

use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};

use crate::clean::checks::{Checks, share};
use crate::clean::grams::Grams;
use crate::clean::rule::Rule;
use crate::clean::text::{characters, split_at_line_feeds, strip};
use crate::clean::words::Words;

/// Largest shares of a document that may repeat. 0 switches a rule off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepetitionOptions {
    /// Whether any of these rules is applied.
    pub enabled: bool,
    /// Paragraphs, between blank lines, that came before, of all paragraphs. Default 0.3.
    pub duplicate_paragraphs: f64,
    /// Characters of such paragraphs, of all characters. Default 0.2.
    pub duplicate_paragraph_characters: f64,
    /// Lines that came before, of all lines that are not empty. Default 0.3.
    pub duplicate_lines: f64,
    /// Characters of such lines, of all characters. Default 0.2.
    pub duplicate_line_characters: f64,
    /// Characters of the most frequent 2-, 3- and 4-gram. Default 0.2, 0.18, 0.16.
    pub top_grams: [f64; 3],
    /// Characters of 5- to 10-grams that came before. Default 0.15, 0.14, 0.13, 0.12, 0.11, 0.10.
    pub duplicate_grams: [f64; 6],
}

impl Default for RepetitionOptions {
    fn default() -> Self {
        RepetitionOptions {
            enabled: true,
            duplicate_paragraphs: 0.3,
            duplicate_paragraph_characters: 0.2,
            duplicate_lines: 0.3,
            duplicate_line_characters: 0.2,
            top_grams: [0.2, 0.18, 0.16],
            duplicate_grams: [0.15, 0.14, 0.13, 0.12, 0.11, 0.10],
        }
    }
}

const TOP: [(usize, Rule); 3] = [(2, Rule::Top2Grams), (3, Rule::Top3Grams), (4, Rule::Top4Grams)];
const DUPLICATE: [(usize, Rule); 6] = [
    (5, Rule::Duplicate5Grams),
    (6, Rule::Duplicate6Grams),
    (7, Rule::Duplicate7Grams),
    (8, Rule::Duplicate8Grams),
    (9, Rule::Duplicate9Grams),
    (10, Rule::Duplicate10Grams),
];

pub(crate) fn check(options: &RepetitionOptions, words: &mut Words<'_, '_>, checks: &mut Checks) -> ControlFlow<()> {
    if !options.enabled {
        return ControlFlow::Continue(());
    }
    let text = words.text();
    let all = characters(text);
    let paragraphs = Duplicates::among(split_at_line_feeds(strip(text), 2));
    let (rule, limit) = (Rule::DuplicateParagraphs, options.duplicate_paragraphs);
    checks.at_most(rule, limit, || share(paragraphs.found, paragraphs.of))?;
    let (rule, limit) = (Rule::DuplicateParagraphCharacters, options.duplicate_paragraph_characters);
    checks.at_most(rule, limit, || share(paragraphs.characters, all))?;
    let lines = Duplicates::among(split_at_line_feeds(text, 1));
    checks.at_most(Rule::DuplicateLines, options.duplicate_lines, || share(lines.found, lines.of))?;
    let (rule, limit) = (Rule::DuplicateLineCharacters, options.duplicate_line_characters);
    checks.at_most(rule, limit, || share(lines.characters, all))?;
    let mut grams = Grams::new(words.get(), true);
    for ((n, rule), limit) in TOP.into_iter().zip(options.top_grams) {
        grams.grow(n);
        checks.at_most(rule, limit, || share(grams.top(), all))?;
    }
    grams.join();
    for ((n, rule), limit) in DUPLICATE.into_iter().zip(options.duplicate_grams) {
        grams.grow(n);
        checks.at_most(rule, limit, || share(grams.duplicates(), all))?;
    }
    ControlFlow::Continue(())
}

/// Pieces of a text that came before.
pub(crate) struct Duplicates {
    pub(crate) found: usize,
    pub(crate) characters: usize,
    /// All pieces.
    pub(crate) of: usize,
}

impl Duplicates {
    /// datatrove, `gopher_repetition_filter.py`: `find_duplicates`.
    pub(crate) fn among<'t>(pieces: impl Iterator<Item = &'t str>) -> Self {
        let mut seen = FxHashSet::default();
        let mut duplicates = Duplicates { found: 0, characters: 0, of: 0 };
        for piece in pieces {
            duplicates.of += 1;
            if !seen.insert(piece) {
                duplicates.found += 1;
                duplicates.characters += characters(piece);
            }
        }
        duplicates
    }
}
