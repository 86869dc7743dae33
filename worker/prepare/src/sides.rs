//! Decides what is for training and what for validation.
//!
//! The side of a document is a function of its text, the seed and the fraction. Documents with equal text are therefore on
//! one side, and a document stays on its side when others are added. A lone document is cut in two instead: its end is for
//! validation. Where it is cut is a function of its text and the fraction.

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::tally::Tally;

/// A side of the data. Work files have the sides in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Documents to train on.
    Train,
    /// Documents to measure the validation loss on.
    Validation,
}

impl Side {
    /// Both sides, in order.
    pub const ALL: [Side; 2] = [Side::Train, Side::Validation];

    /// Returns the name of the side's folder in the output.
    pub fn folder(self) -> &'static str {
        match self {
            Side::Train => crate::TRAIN_FOLDER,
            Side::Validation => crate::VALIDATION_FOLDER,
        }
    }
}

/// How documents are divided into two sides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Division {
    /// Each document as a whole: those whose text has a hash below this bound are for validation.
    ByHash(u64),
    /// The only document is cut, and about this fraction of its text, at its end, is for validation.
    Lone {
        /// Value of `prepare.validation_fraction`, above 0.
        lone: f64,
    },
}

impl Division {
    /// Returns the division by which about `fraction` of all texts are for validation.
    pub fn of(fraction: f64) -> Self {
        Division::ByHash((fraction * 2f64.powi(64)) as u64)
    }

    /// Divides the document `text`, whose hash is `text_hash`: returns its parts, each with its side.
    pub fn parts(self, text: &str, text_hash: u64) -> impl Iterator<Item = (Side, &str)> {
        let (first, second) = match self {
            Division::ByHash(bound) if text_hash < bound => ((Side::Validation, text), None),
            Division::ByHash(_) => ((Side::Train, text), None),
            Division::Lone { lone } => {
                let (train, validation) = text.split_at(cut(text, lone));
                ((Side::Train, train), (!validation.is_empty()).then_some((Side::Validation, validation)))
            }
        };
        [Some(first), second].into_iter().flatten()
    }

    /// Returns the division with validation data for `fraction` above 0, which may be this one: the nearest bound that leaves
    /// neither side empty, or the cut of a lone document. Where several texts are all equal, none is for validation.
    pub fn mended(self, tally: &Tally, fraction: f64) -> Self {
        match (self, tally.hashes) {
            (Division::ByHash(_), Some(_)) if fraction > 0.0 && tally.documents == 1 => {
                Division::Lone { lone: fraction }
            }
            (Division::ByHash(_), Some((lowest, highest))) if lowest == highest => Division::ByHash(0),
            (Division::ByHash(bound), Some((lowest, highest))) if bound > 0 => {
                Division::ByHash(bound.clamp(lowest + 1, highest))
            }
            _ => self,
        }
    }
}

/// Returns the byte at which the text of a lone document is cut, so that about `fraction` of it is behind; its length where it
/// is too short to be cut.
///
/// The cut is at or before byte floor(length x (1 - fraction)), and before the last character. It is behind the last blank line
/// there that leaves at most twice the fraction behind it; without one, behind such a line, then behind such white space, then
/// between two characters.
fn cut(text: &str, fraction: f64) -> usize {
    let target = (text.len() as f64 * (1.0 - fraction)) as usize;
    let target = text.floor_char_boundary(target.min(text.len().saturating_sub(1)));
    let earliest = text.ceil_char_boundary((text.len() as f64 * (1.0 - 2.0 * fraction)).max(0.0) as usize);
    let window = text.get(earliest..target).unwrap_or_default();
    let after_white_space = || window.char_indices().rfind(|(_, c)| c.is_whitespace()).map(|(at, c)| at + c.len_utf8());
    let within = behind_last_blank_line(window).or_else(|| window.rfind('\n').map(|at| at + 1));
    match within.or_else(after_white_space).map_or(target, |at| earliest + at) {
        0 => text.len(),
        cut => cut,
    }
}

/// Returns the byte behind the last blank line of `text`, whose lines end in LF or CR LF.
fn behind_last_blank_line(text: &str) -> Option<usize> {
    ["\n\n", "\n\r\n"].iter().filter_map(|blank| text.rfind(blank).map(|at| at + blank.len())).max()
}

/// Returns the hash of a text that decides on its side: XXH3, 64 bits, of the text in UTF-8 under the seed. Nobody has a
/// reason to forge one, so it may be a fast hash.
pub fn text_hash(seed: u64, text: &str) -> u64 {
    xxh3_64_with_seed(text.as_bytes(), seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tally(hashes: &[u64]) -> Tally {
        let mut tally = Tally::default();
        hashes.iter().for_each(|hash| tally.keep(1, 1, *hash));
        tally
    }

    fn sizes(hashes: &[u64], fraction: f64) -> (usize, usize) {
        let division = Division::of(fraction).mended(&tally(hashes), fraction);
        let parts = |hash: &u64| division.parts("a text", *hash).map(|(side, _)| side).collect::<Vec<_>>();
        let sides: Vec<Side> = hashes.iter().flat_map(parts).collect();
        let validation = sides.iter().filter(|side| **side == Side::Validation).count();
        (sides.len() - validation, validation)
    }

    #[test]
    fn the_text_hash_is_pinned() {
        // python3: xxhash.xxh3_64_hexdigest("abc", seed=2)
        assert_eq!(format!("{:016x}", text_hash(2, "abc")), "e2af69bada306fec");
    }

    #[test]
    fn neither_side_is_empty_when_there_are_two_texts() {
        assert_eq!(sizes(&[5, 6], 1e-12), (1, 1));
        assert_eq!(sizes(&[5, u64::MAX], 0.999), (1, 1));
        assert_eq!(sizes(&[5, 6], 0.999), (1, 1));
        assert_eq!(sizes(&[0, 0, u64::MAX], 0.5), (1, 2));
        assert_eq!(sizes(&[5, 6], 0.0), (2, 0));
        // Several equal texts cannot be on two sides, and a lone one is cut.
        assert_eq!(sizes(&[5, 5], 0.5), (2, 0));
        assert_eq!(sizes(&[5], 0.5), (1, 1));
        assert_eq!(sizes(&[5], 1e-30), (1, 1));
        assert_eq!(sizes(&[5], 0.0), (1, 0));
        assert_eq!(sizes(&[], 0.5), (0, 0));
    }

    #[test]
    fn the_fraction_holds() {
        let hashes: Vec<u64> = (0..10_000).map(|i: u64| text_hash(3, &i.to_string())).collect();
        let (_, validation) = sizes(&hashes, 0.1);
        assert!((900..1100).contains(&validation), "{validation}");
    }

    #[test]
    fn a_lone_document_is_cut_where_it_breaks() {
        let behind = |text: &str, fraction: f64| text[cut(text, fraction)..].to_owned();
        assert_eq!(behind("one\n\ntwo\nthree\nfour", 0.5), "two\nthree\nfour");
        assert_eq!(behind("one two\nthree four\nfive", 0.4), "three four\nfive");
        assert_eq!(behind("one two three four five", 0.3), "four five");
        assert_eq!(behind("漢字漢字漢字漢字漢字", 0.2), "漢字");
        // Lines may end in CR LF, and in both.
        assert_eq!(behind("one\r\n\r\ntwo\r\nthree\r\nfour", 0.5), "two\r\nthree\r\nfour");
        assert_eq!(behind("one\r\n\r\ntwo\n\nthree four five", 0.5), "three four five");
        assert_eq!(behind("one\n\ntwo\r\n\r\nthree four five", 0.5), "three four five");
        // A blank line far before the place does not make the end much longer.
        assert_eq!(behind("a\n\nbbbbbbbbb bbbbbbbb cc", 0.08), "cc");
        // One character cannot be cut.
        assert_eq!(behind("漢", 0.5), "");
        assert_eq!(behind("", 0.5), "");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_cut_leaves_about_the_fraction_behind(text in "[a-c \r\n漢é]{0,200}", fraction in 1e-6..0.9999_f64) {
            let cut = cut(&text, fraction);
            prop_assert!(text.is_char_boundary(cut) && (cut > 0 || text.is_empty()));
            // A character has at most 4 bytes.
            let behind = (text.len() - cut) as f64;
            prop_assert!(behind <= 2.0 * fraction * text.len() as f64 + 4.0, "{behind} of {}", text.len());
            if cut < text.len() {
                prop_assert!(behind + 1.0 >= fraction * text.len() as f64, "{behind} of {}", text.len());
            }
        }
    }
}
