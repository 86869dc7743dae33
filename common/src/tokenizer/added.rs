//! Added tokens: found in a text before it is split, each as a whole, as Hugging Face's `tokenizers` finds them.
//!
//! A text is searched twice: for the tokens that are not `normalized` and, between those, for the others. (Convoy normalizes
//! nothing, so the flag has no other meaning here.) Each search takes the leftmost match, and at one place the longest. A
//! match that does not count, such as a special token in a document, is ordinary text up to its end.

use aho_corasick::{AhoCorasick, MatchKind};
use regex_syntax::is_word_character;

use super::vocabulary::{AddedToken, Vocabulary};

/// Finder of the added tokens of a vocabulary.
pub(super) struct Added {
    passes: [Pass; 2],
    /// Whether any are found in documents: those that are not special.
    are_in_documents: bool,
}

struct Pass {
    matches: AhoCorasick,
    /// Token of each pattern, by the pattern's number.
    tokens: Vec<AddedToken>,
}

/// A part of a text.
pub(super) enum Part<'t> {
    /// Ordinary text.
    Text(&'t str),
    /// The id of an added token.
    Token(u16),
}

impl Added {
    /// Returns the finder for `vocabulary`, which has been checked.
    pub fn new(vocabulary: &Vocabulary) -> Result<Self, String> {
        let pass = |normalized| {
            let tokens = vocabulary.added.iter().copied().filter(|token: &AddedToken| token.normalized == normalized);
            let tokens: Vec<AddedToken> = tokens.collect();
            let texts = tokens.iter().map(|token| &vocabulary.tokens[usize::from(token.id)]);
            let matches = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(texts);
            matches.map(|matches| Pass { matches, tokens }).map_err(|e| format!("its added tokens: {e}"))
        };
        let are_in_documents = vocabulary.added.iter().any(|token| !token.special);
        Ok(Added { passes: [pass(false)?, pass(true)?], are_in_documents })
    }

    /// Passes the parts of `text`, in order, to `part`. Special tokens are text unless `with_special`.
    pub fn split<'t>(&self, text: &'t str, with_special: bool, mut part: impl FnMut(Part<'t>)) {
        if !with_special && !self.are_in_documents {
            return part(Part::Text(text));
        }
        let [first, second] = &self.passes;
        first.split(text, with_special, &mut |found| match found {
            Part::Text(text) => second.split(text, with_special, &mut part),
            Part::Token(_) => part(found),
        });
    }
}

impl Pass {
    fn split<'t>(&self, text: &'t str, with_special: bool, part: &mut impl FnMut(Part<'t>)) {
        let mut done = 0;
        for found in self.matches.find_iter(text) {
            let token = self.tokens[found.pattern().as_usize()];
            let is_in_a_word = || {
                text[..found.start()].chars().next_back().is_some_and(is_word_character)
                    || text[found.end()..].chars().next().is_some_and(is_word_character)
            };
            if (token.special && !with_special) || (token.single_word && is_in_a_word()) {
                continue;
            }
            if done < found.start() {
                part(Part::Text(&text[done..found.start()]));
            }
            part(Part::Token(token.id));
            done = found.end();
        }
        if done < text.len() {
            part(Part::Text(&text[done..]));
        }
    }
}
