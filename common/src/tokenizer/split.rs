//! Splits text into the pieces that merges never cross, as GPT-2 does.
//!
//! The pattern is [`GPT2_SPLIT`]: a contraction; or a run of letters, of numbers, or of anything else except white space,
//! each with one space before it; or white space, which leaves its last character to what follows, unless nothing follows or
//! it is only one character. The pattern is written out by hand here, over a table of character classes. Each character is
//! looked at once or twice and never again, so the time is linear for any text.

use std::sync::OnceLock;

use regex_syntax::hir::{Class as HirClass, HirKind};

/// Pattern that splits text before merging, as OpenAI published it with GPT-2. It is a part of the tokenizer's hash.
pub(super) const GPT2_SPLIT: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Character classes that the pattern distinguishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Class {
    /// None of the other classes.
    Other,
    /// `\p{L}`.
    Letter,
    /// `\p{N}`.
    Number,
    /// `\s`.
    White,
}

/// Number of characters in a block of the table.
const BLOCK: usize = 256;
/// Number of blocks that cover all of Unicode.
const BLOCKS: usize = 0x11_0000 / BLOCK;

/// Class of every character.
struct Classes {
    /// Classes of the ASCII characters, of which most text consists.
    ascii: [Class; 128],
    /// Index in `blocks` for each 256 characters. Most share a few blocks.
    block_of: Vec<u8>,
    blocks: Vec<[Class; BLOCK]>,
}

/// Pieces of a text, in order. Together they are the text.
pub(super) struct Pieces<'t> {
    text: &'t str,
    start: usize,
    classes: &'static Classes,
}

/// Splits `text` into pieces.
pub(super) fn pieces(text: &str) -> Pieces<'_> {
    static CLASSES: OnceLock<Classes> = OnceLock::new();
    Pieces { text, start: 0, classes: CLASSES.get_or_init(Classes::new) }
}

impl<'t> Iterator for Pieces<'t> {
    type Item = &'t str;

    #[inline]
    fn next(&mut self) -> Option<&'t str> {
        if self.start == self.text.len() {
            return None;
        }
        let end = self.end_of_piece(self.start);
        let piece = &self.text[self.start..end];
        self.start = end;
        Some(piece)
    }
}

impl Pieces<'_> {
    #[inline]
    fn end_of_piece(&self, start: usize) -> usize {
        let bytes = self.text.as_bytes();
        if bytes[start] == b'\'' {
            let contraction = contraction_length(&bytes[start + 1..]);
            if contraction > 0 {
                return start + 1 + contraction;
            }
        }
        let (class, end) = self.class_at(start);
        if class != Class::White {
            return self.end_of_run(class, end);
        }
        if bytes[start] == b' ' && end < bytes.len() {
            let (next, after) = self.class_at(end);
            if next != Class::White {
                return self.end_of_run(next, after);
            }
        }
        self.end_of_white(start, end)
    }

    /// Returns the class of the character at byte `at`, and the position of the next character.
    #[inline]
    fn class_at(&self, at: usize) -> (Class, usize) {
        let byte = self.text.as_bytes()[at];
        if byte < 128 {
            return (self.classes.ascii[usize::from(byte)], at + 1);
        }
        let character = self.text[at..].chars().next().unwrap_or('\0');
        (self.classes.of(character), at + character.len_utf8())
    }

    /// Returns where the characters of `class` end, from `at` on.
    #[inline]
    fn end_of_run(&self, class: Class, mut at: usize) -> usize {
        if class == Class::Letter {
            at = self.end_of_ascii_letters(at);
        }
        while at < self.text.len() {
            let (next, after) = self.class_at(at);
            if next != class {
                break;
            }
            at = after;
        }
        at
    }

    /// Returns where the ASCII letters end, from `at` on, or an earlier place near the text's end. Most words are not looked
    /// at letter by letter: the processor cannot guess how long the next one is, and a wrong guess takes longer than the rest.
    #[inline]
    fn end_of_ascii_letters(&self, mut at: usize) -> usize {
        while let Some(next) = self.text.as_bytes()[at..].first_chunk::<8>() {
            let others = not_ascii_letters(u64::from_le_bytes(*next));
            if others != 0 {
                return at + others.trailing_zeros() as usize / 8;
            }
            at += 8;
        }
        at
    }

    /// Returns the end of the piece of white space whose first character is `start..end`.
    fn end_of_white(&self, start: usize, mut end: usize) -> usize {
        let mut last = start;
        while end < self.text.len() {
            let (next, after) = self.class_at(end);
            if next != Class::White {
                // What follows gets the last character, unless there is only one.
                return if last == start { end } else { last };
            }
            last = end;
            end = after;
        }
        end
    }
}

/// Returns the length of the contraction whose apostrophe is before `bytes`, or 0 if there is none.
#[inline]
fn contraction_length(bytes: &[u8]) -> usize {
    match bytes {
        [b's' | b't' | b'm' | b'd', ..] => 1,
        [b'r' | b'v', b'e', ..] | [b'l', b'l', ..] => 2,
        _ => 0,
    }
}

/// Sets the highest bit of each of eight bytes that is not an ASCII letter.
#[inline]
fn not_ascii_letters(bytes: u64) -> u64 {
    const fn each(byte: u8) -> u64 {
        u64::from_le_bytes([byte; 8])
    }
    // The additions set the highest bit from the bound on. Sums stay below 256, so no byte affects the next.
    let lower = (bytes | each(b'a' - b'A')) & each(0x7f);
    let from_a = lower + each(0x80 - b'a');
    let after_z = lower + each(0x7f - b'z');
    (!from_a | after_z | bytes) & each(0x80)
}

impl Classes {
    fn new() -> Self {
        let mut all = vec![Class::Other; BLOCKS * BLOCK];
        for (pattern, class) in [(r"\p{L}", Class::Letter), (r"\p{N}", Class::Number), (r"\s", Class::White)] {
            for (first, last) in ranges(pattern) {
                all[first as usize..=last as usize].fill(class);
            }
        }
        let mut blocks: Vec<[Class; BLOCK]> = Vec::new();
        let mut block_of = Vec::with_capacity(BLOCKS);
        for content in all.as_chunks::<BLOCK>().0 {
            let known = blocks.iter().position(|block| block == content);
            block_of.push(known.unwrap_or(blocks.len()) as u8);
            if known.is_none() {
                blocks.push(*content);
            }
        }
        // About 130 blocks differ. The test over all characters would notice a Unicode with more than 256.
        let mut ascii = [Class::Other; 128];
        ascii.copy_from_slice(&all[..128]);
        Classes { ascii, block_of, blocks }
    }

    #[inline]
    fn of(&self, character: char) -> Class {
        let code = character as usize;
        self.blocks[usize::from(self.block_of[code / BLOCK])][code % BLOCK]
    }
}

/// Returns the characters that `pattern`, a class, matches.
fn ranges(pattern: &str) -> Vec<(u32, u32)> {
    match regex_syntax::parse(pattern).map(|hir| hir.into_kind()) {
        Ok(HirKind::Class(HirClass::Unicode(class))) => {
            class.ranges().iter().map(|range| (range.start() as u32, range.end() as u32)).collect()
        }
        other => unreachable!("{pattern} is a class of characters: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[test]
    fn pieces_are_gpt2s() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(pieces(text).collect::<Vec<_>>(), expected, "{text:?}");
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
        check("''re're'r", &["''", "re", "'re", "'", "r"]);
    }

    #[test]
    fn eight_letters_at_once_are_those_of_ascii() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                for others in [b'a', b'Z', b'@', 0xff] {
                    let mut bytes = [others; 8];
                    bytes[place] = byte;
                    let expected = bytes.map(|byte| if byte.is_ascii_alphabetic() { 0 } else { 0x80 });
                    assert_eq!(not_ascii_letters(u64::from_le_bytes(bytes)).to_le_bytes(), expected);
                }
            }
        }
    }

    /// Compares each character's class with the regex engine's, which has the same Unicode tables.
    #[test]
    fn every_character_has_its_class() {
        let classes = Classes::new();
        let patterns = [(r"^\p{L}$", Class::Letter), (r"^\p{N}$", Class::Number), (r"^\s$", Class::White)];
        let patterns = patterns.map(|(pattern, class)| (Regex::new(pattern).unwrap(), class));
        let mut text = [0; 4];
        for character in '\0'..=char::MAX {
            let text = character.encode_utf8(&mut text);
            let expected = patterns.iter().find(|(p, _)| p.is_match(text)).map_or(Class::Other, |(_, class)| *class);
            assert_eq!(classes.of(character), expected, "{character:?}");
        }
    }
}
