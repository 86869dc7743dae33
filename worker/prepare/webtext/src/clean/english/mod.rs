//! English words and sentences as spaCy 3.8 splits them in its blank English pipeline, which datatrove uses.
//!
//! A text is cut at white space; each piece loses marks at its front and end one after the other until it is a known word
//! ([`specials`]) or has no more ([`affixes`]), and is then split at marks within. spaCy's files are `tokenizer.pyx`,
//! `lang/punctuation.py`, `lang/en/punctuation.py`, `lang/en/tokenizer_exceptions.py` and `pipeline/sentencizer.pyx`. Its classes of
//! letters are those of some scripts; here they are Unicode's. Its rare words that would have to be put together again over white
//! space are not.

mod affixes;
mod infixes;
mod sentences;
mod specials;
mod url;

use std::sync::LazyLock;

use crate::clean::split::Split;
use crate::clean::text::is_space;
use affixes::{prefix, suffix};
use infixes::infix;
use sentences::Counter;
use specials::Specials;

/// Splits English text.
pub struct English {
    specials: &'static Specials,
}

/// Made once, when it is first needed.
static SPECIALS: LazyLock<Specials> = LazyLock::new(Specials::new);

impl Default for English {
    fn default() -> Self {
        English::new()
    }
}

impl Split for English {
    fn words<'t>(&self, text: &'t str, words: &mut Vec<&'t str>) {
        for piece in text.split(is_space) {
            self.piece(piece, words);
        }
    }

    fn sentences(&self, line: &str) -> usize {
        let (mut counter, mut words) = (Counter::default(), Vec::new());
        let mut rest = line;
        while !rest.is_empty() {
            let piece = &rest[..rest.find(is_space).unwrap_or(rest.len())];
            self.piece(piece, &mut words);
            words.drain(..).for_each(|word| counter.word(word));
            rest = &rest[piece.len()..];
            let space = &rest[..rest.find(|c| !is_space(c)).unwrap_or(rest.len())];
            counter.space(space);
            rest = &rest[space.len()..];
        }
        counter.sentences()
    }
}

impl English {
    /// Makes the tables.
    pub fn new() -> Self {
        English { specials: &SPECIALS }
    }

    /// Splits what is between white space. spaCy: `Tokenizer._tokenize`.
    fn piece<'t>(&self, piece: &'t str, words: &mut Vec<&'t str>) {
        if piece.is_empty() || self.specials.split(piece, words) {
            return;
        }
        if piece.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            words.push(piece);
            return;
        }
        let (first, mut suffixes) = (words.len(), Vec::new());
        let middle = self.without_affixes(piece, words, &mut suffixes);
        self.middle(middle, words);
        words.extend(suffixes.into_iter().rev());
        if words.len() > first + 1 {
            self.specials.put_together(piece, first, words);
        }
    }

    /// Pushes what is cut off in front and at the end, and returns what is left. spaCy: `Tokenizer._split_affixes`.
    fn without_affixes<'t>(&self, piece: &'t str, words: &mut Vec<&'t str>, suffixes: &mut Vec<&'t str>) -> &'t str {
        let mut left = piece;
        loop {
            if left.is_empty() || self.specials.has(left) {
                return left;
            }
            let (front, after) = left.split_at(prefix(left));
            if !front.is_empty() && self.specials.has(after) {
                words.push(front);
                return after;
            }
            let back = suffix(after);
            let (before, end) = left.split_at(left.len() - back);
            if back > 0 && self.specials.has(before) {
                suffixes.push(end);
                return before;
            }
            if front.is_empty() && back == 0 {
                return left;
            }
            if !front.is_empty() {
                words.push(front);
            }
            if back > 0 {
                suffixes.push(end);
            }
            left = &after[..after.len() - back];
        }
    }

    /// Splits what has neither prefix nor suffix. spaCy: `Tokenizer._attach_tokens`.
    fn middle<'t>(&self, middle: &'t str, words: &mut Vec<&'t str>) {
        if middle.is_empty() || self.specials.split(middle, words) {
            return;
        }
        if url::is_url(middle) {
            words.push(middle);
            return;
        }
        let (mut from, mut at) = (0, 0);
        while at < middle.len() {
            let length = infix(middle, at);
            if length > 0 && at > 0 {
                if from < at {
                    words.push(&middle[from..at]);
                }
                words.push(&middle[at..at + length]);
                from = at + length;
            }
            at += length.max(middle[at..].chars().next().map_or(1, char::len_utf8));
        }
        if from < middle.len() {
            words.push(&middle[from..]);
        }
    }
}
