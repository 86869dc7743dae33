//! De-tokenizers: text whose words and punctuation stand apart becomes text as people write it, and back.
//!
//! A corpus such as WikiText has its words and punctuation separated by spaces. A model that has read ordinary text finds that
//! unlikely, so it is given the text without these spaces. That changes nothing in what is measured if the de-tokenizer is
//! invertible: then the likelihood of the one text is that of the other, and can be divided by the corpus's own words.
//!
//! Here, tokenizing is what defines de-tokenizing. [`Detokenizer::tokenize`] splits each run without spaces by the rules of a
//! corpus ([`Rules`]). [`Detokenizer::detokenize`] omits a space only where those rules restore it, which it tries. Words of
//! the corpus that the rules would split, such as `U.S.`, are kept whole (the lexicon, found in the corpus beforehand); then
//! ambiguous places keep their space. So `tokenize(detokenize(line)) == line` holds for every line of words that are
//! separated by single spaces. `corpora` has the rules.

mod corpora;
mod rules;

pub use corpora::{ONE_BILLION_WORD, PENN_TREEBANK, WIKITEXT};
pub use rules::{Infix, Quotes, Rules};

use std::collections::HashSet;

/// Bytes of a run without spaces that may still grow. It bounds the time for a text made to take long.
const RUN_BYTES: usize = 200;

/// The de-tokenizer of a corpus.
#[derive(Debug, Clone)]
pub struct Detokenizer {
    rules: &'static Rules,
    /// Words of the corpus that the rules would split.
    lexicon: HashSet<String>,
}

impl Detokenizer {
    /// Returns the de-tokenizer of a corpus of these lines, whose words are separated by single spaces.
    pub fn new<'a>(rules: &'static Rules, lines: impl IntoIterator<Item = &'a str>) -> Self {
        let words: HashSet<&str> = lines.into_iter().flat_map(words).collect();
        let none = HashSet::new();
        let split = |word: &&str| rules.split(word, &none) != [*word];
        let lexicon = words.into_iter().filter(split).map(str::to_owned).collect();
        Detokenizer { rules, lexicon }
    }

    /// Returns `line` as people write it. Spaces at its ends are dropped.
    pub fn detokenize(&self, line: &str) -> String {
        let words: Vec<&str> = words(line).collect();
        let mut quotes = Quotes::default();
        let mut text = String::with_capacity(line.len());
        // The run without spaces that is growing: where it begins in the text, and its first word.
        let (mut begin, mut first) = (0, 0);
        let mut next = 0;
        while next < words.len() {
            let left = next.checked_sub(1).map(|left| words[left]);
            let joined = left.and_then(|left| self.joined(left, &words[next..], &quotes));
            let fits = |run: &str, of: &[&str]| run.len() <= RUN_BYTES && self.rules.split(run, &self.lexicon) == *of;
            let grown = joined
                .filter(|(written, count)| fits(&format!("{}{written}", &text[begin..]), &words[first..next + count]));
            let (written, count) = grown.unwrap_or_else(|| {
                if next > 0 {
                    text.push(' ');
                }
                (begin, first) = (text.len(), next);
                let opened = self.opened(&words[next..]);
                opened
                    .filter(|(written, count)| fits(written, &words[next..next + count]))
                    .unwrap_or_else(|| (words[next].to_owned(), 1))
            });
            text.push_str(&written);
            for word in next..next + count {
                quotes.see(word.checked_sub(1).map(|left| words[left]), words[word]);
            }
            next += count;
        }
        text
    }

    /// Returns how the first of `words` are written behind `left`, and how many they are, if there is to be no space.
    fn joined(&self, left: &str, words: &[&str], quotes: &Quotes) -> Option<(String, usize)> {
        match (self.rules.infix(words[0]), words.get(1)) {
            (Some(infix), Some(after)) => Some((format!("{}{}", infix.written, self.rules.written(after)), 2)),
            _ => self.rules.joins(left, words[0], quotes).then(|| (self.rules.written(words[0]).to_owned(), 1)),
        }
    }

    /// Returns how a mark in front, which is written otherwise than the corpus has it, and the word behind it are written.
    fn opened(&self, words: &[&str]) -> Option<(String, usize)> {
        let mark = self.rules.written(words[0]);
        let word = words.get(1).filter(|_| mark != words[0])?;
        Some((format!("{mark}{}", self.rules.written(word)), 2))
    }

    /// Returns the words of a text as the corpus has them, separated by single spaces.
    pub fn tokenize(&self, text: &str) -> String {
        let runs = words(text).flat_map(|run| self.rules.split(run, &self.lexicon));
        runs.collect::<Vec<String>>().join(" ")
    }
}

/// Returns the words of a line: what is between spaces (U+0020 only; corpora have other spaces within words).
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(' ').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests;
