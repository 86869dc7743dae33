//! Text to the pieces that merges never cross, as GPT-2 splits it.
//!
//! GPT-2's pattern has one part that needs a look ahead, `\s+(?!\S)`: a run of white space leaves its last character
//! to what follows it, unless nothing does or the run is that one character. That rule is applied here by hand, so
//! the rest is a pattern for a regex engine whose time is linear. Every character matches some alternative, so the
//! pieces together are the text.

use regex::Regex;

/// GPT-2's pattern without the look-ahead.
const PATTERN: &str = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";

/// Splits text.
pub(super) struct Splitter {
    regex: Regex,
}

impl Splitter {
    pub fn gpt2() -> Result<Self, regex::Error> {
        Ok(Splitter { regex: Regex::new(PATTERN)? })
    }

    /// The pieces of `text`, in order.
    pub fn pieces<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        let mut start = 0;
        std::iter::from_fn(move || {
            let found = self.regex.find_at(text, start)?;
            let piece = &text[start..piece_end(text, found.as_str(), found.end())];
            start += piece.len();
            Some(piece)
        })
    }
}

/// Where the piece that matched as `found` really ends: before its last character if it is white space, longer than
/// that character, and followed by something.
fn piece_end(text: &str, found: &str, end: usize) -> usize {
    match found.chars().next_back() {
        Some(last) if last.is_whitespace() && last.len_utf8() < found.len() && end < text.len() => {
            end - last.len_utf8()
        }
        _ => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_gpt2s() {
        let splitter = Splitter::gpt2().unwrap();
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(splitter.pieces(text).collect::<Vec<_>>(), expected, "{text:?}");
        };
        check("", &[]);
        check("It's  we'll", &["It", "'s", " ", " we", "'ll"]);
        check("a1 b22!?", &["a", "1", " b", "22", "!?"]);
        check("a \n\n b", &["a", " \n\n", " b"]);
        check("a\n\nb", &["a", "\n", "\n", "b"]);
        check("a  \n", &["a", "  \n"]);
        check(" ", &[" "]);
        check("\tx", &["\t", "x"]);
        check("\u{a0}\u{3000}x", &["\u{a0}", "\u{3000}", "x"]);
        check(" 's 'S", &[" '", "s", " '", "S"]);
    }
}
