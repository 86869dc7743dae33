//! Gopher's quality rules (Rae et al. 2021, <https://arxiv.org/abs/2112.11446>, appendix A.1.1), as datatrove's
//! `gopher_quality_filter.py` computes them.

use std::ops::ControlFlow;

use memchr::memchr_iter;
use memchr::memmem::find_iter;
use serde::{Deserialize, Serialize};

use crate::clean::checks::{Checks, share};
use crate::clean::punctuation::only_marks;
use crate::clean::rule::Rule;
use crate::clean::text::{characters, is_space, lines};
use crate::clean::unicode::LETTER;
use crate::clean::words::Words;

/// What a document of prose is like. 0 switches a rule off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QualityOptions {
    /// Whether any of these rules is applied.
    pub enabled: bool,
    /// Least words that are not only marks. Default 50.
    pub min_words: usize,
    /// Most such words. Default 100,000.
    pub max_words: usize,
    /// Least mean length of such words, in characters. Default 3.
    pub min_mean_word_length: f64,
    /// Largest mean length of such words, in characters. Default 10.
    pub max_mean_word_length: f64,
    /// Most hash signs per word. Default 0.1.
    pub max_hashes: f64,
    /// Most ellipses per word. Default 0.1.
    pub max_ellipses: f64,
    /// Largest share of lines that begin with a bullet. Default 0.9.
    pub max_bullet_lines: f64,
    /// Largest share of lines that end in an ellipsis. Default 0.3.
    pub max_ellipsis_lines: f64,
    /// Least share of words with a letter. Default 0.8.
    pub min_alphabetic_words: f64,
    /// Least different stop words. Default 2.
    pub min_stop_words: usize,
    /// Stop words, compared as they are written. Default "the", "be", "to", "of", "and", "that", "have", "with".
    pub stop_words: Vec<String>,
}

impl Default for QualityOptions {
    fn default() -> Self {
        QualityOptions {
            enabled: true,
            min_words: 50,
            max_words: 100_000,
            min_mean_word_length: 3.0,
            max_mean_word_length: 10.0,
            max_hashes: 0.1,
            max_ellipses: 0.1,
            max_bullet_lines: 0.9,
            max_ellipsis_lines: 0.3,
            min_alphabetic_words: 0.8,
            min_stop_words: 2,
            stop_words: ["the", "be", "to", "of", "and", "that", "have", "with"].map(str::to_owned).to_vec(),
        }
    }
}

pub(crate) fn check(options: &QualityOptions, words: &mut Words<'_, '_>, checks: &mut Checks) -> ControlFlow<()> {
    if !options.enabled {
        return ControlFlow::Continue(());
    }
    let text = words.text();
    let words = words.get();
    let (mut proper, mut length) = (0, 0);
    for word in words.iter().filter(|word| !only_marks(word)) {
        proper += 1;
        length += characters(word);
    }
    let mean = share(length, proper);
    checks.at_least(Rule::WordsMin, options.min_words as f64, || proper as f64)?;
    checks.at_most(Rule::WordsMax, options.max_words as f64, || proper as f64)?;
    checks.at_least(Rule::MeanWordLengthMin, options.min_mean_word_length, || mean)?;
    checks.at_most(Rule::MeanWordLengthMax, options.max_mean_word_length, || mean)?;
    let bytes = text.as_bytes();
    checks.at_most(Rule::Hashes, options.max_hashes, || share(memchr_iter(b'#', bytes).count(), words.len()))?;
    checks.at_most(Rule::Ellipses, options.max_ellipses, || {
        share(find_iter(bytes, "...").count() + find_iter(bytes, "…").count(), words.len())
    })?;
    let (mut all, mut bullets, mut cut) = (0, 0, 0);
    for line in lines(text) {
        all += 1;
        bullets += usize::from(line.trim_start_matches(is_space).starts_with(['•', '-']));
        let end = line.trim_end_matches(is_space);
        cut += usize::from(end.ends_with("...") || end.ends_with('…'));
    }
    checks.at_most(Rule::BulletLines, options.max_bullet_lines, || share(bullets, all))?;
    checks.at_most(Rule::EllipsisLines, options.max_ellipsis_lines, || share(cut, all))?;
    checks.at_least(Rule::AlphabeticWords, options.min_alphabetic_words, || {
        let letters = &*LETTER;
        share(words.iter().filter(|word| word.chars().any(|c| letters.contains(c))).count(), words.len())
    })?;
    checks.at_least(Rule::StopWords, options.min_stop_words as f64, || different(&options.stop_words, words) as f64)
}

/// Number of different stop words among the words.
fn different(stop_words: &[String], words: &[&str]) -> usize {
    let mut missing: Vec<&str> = stop_words.iter().map(String::as_str).collect();
    missing.sort_unstable();
    missing.dedup();
    let all = missing.len();
    for word in words {
        if missing.is_empty() {
            break;
        }
        missing.retain(|stop_word| stop_word != word);
    }
    all - missing.len()
}
