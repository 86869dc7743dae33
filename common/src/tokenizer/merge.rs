//! Encodes one piece of text. The ids are those that result from starting with single bytes and applying, again and again,
//! the merge learnt first of those that apply anywhere, at the leftmost place.
//!
//! Words repeat, so the ids of short pieces are kept in a [`Cache`]. Other pieces are merged by `linear`, which finds these
//! ids from left to right, or by `heap` for a vocabulary on which `linear` would not.

use rustc_hash::FxHashSet;

use super::heap::{self, Pairs};
use super::linear::{Linear, Places};
use super::vocabulary::Vocabulary;

/// Algorithm that merges pieces for one vocabulary.
pub(super) enum Merges {
    Linear(Linear),
    Pairs(Box<Pairs>),
}

impl Merges {
    /// Prepares the merges of `vocabulary`, in which every single byte must be a token.
    pub fn new(vocabulary: &Vocabulary) -> Result<Self, String> {
        let mut bytes = [None; 256];
        let is_special: FxHashSet<u16> = vocabulary.special().collect();
        let is_added: FxHashSet<u16> = vocabulary.added.iter().map(|token| token.id).collect();
        let single = (0..=u16::MAX).zip(&vocabulary.tokens).filter(|(id, t)| t.len() == 1 && !is_special.contains(id));
        // An added token may stand for a byte. If an ordinary token does, too, the added one is only found in text.
        let (added, ordinary): (Vec<_>, Vec<_>) = single.partition(|(id, _)| is_added.contains(id));
        for (id, token) in added.into_iter().chain(ordinary) {
            bytes[usize::from(token[0])] = Some(id);
        }
        let mut of_bytes = [0; 256];
        for (byte, id) in bytes.into_iter().enumerate() {
            of_bytes[byte] = id.ok_or_else(|| format!("no token for the byte {byte:#04x}"))?;
        }
        match Linear::new(vocabulary, &of_bytes) {
            Some(linear) => Ok(Merges::Linear(linear)),
            None => Ok(Merges::Pairs(Box::new(Pairs::new(vocabulary, of_bytes)?))),
        }
    }

    /// Appends the ids of `piece`.
    fn encode(&self, piece: &[u8], ids: &mut Vec<u16>, memory: &mut Memory) {
        match self {
            Merges::Linear(linear) => linear.encode(piece, ids, &mut memory.closed),
            Merges::Pairs(pairs) => memory.piece.encode(pairs, piece, ids),
        }
    }
}

/// Working memory for merging, kept from piece to piece.
#[derive(Clone, Default)]
struct Memory {
    closed: Places,
    piece: heap::Piece,
}

/// Cache of the ids of short pieces: a table in which a piece has two places, which hold the last two pieces that belong there.
#[derive(Clone)]
pub(super) struct Cache {
    entries: Vec<[Entry; 2]>,
    memory: Memory,
}

#[derive(Clone, Copy)]
struct Entry {
    /// Bytes of the piece, and its length in the highest byte; 0 for an empty entry.
    key: u128,
    /// Ids of the piece, and their number in the last place.
    ids: [u16; ENTRY_IDS + 1],
}

/// Size of the longest piece in the cache, in bytes.
const ENTRY_BYTES: usize = 15;
/// Largest number of ids of a piece in the cache.
const ENTRY_IDS: usize = 7;
/// Number of pieces that are looked up together.
pub(super) const PIECES_AT_ONCE: usize = 32;
/// Binary logarithm of the number of pairs of entries, which take 2 MiB: words that are frequent enough to matter are some
/// tens of thousands.
const PAIRS_LOG2: u32 = 15;

impl Cache {
    /// Returns a cache that contains the tokens of `vocabulary`, so that only pieces of several tokens have to be merged
    /// once. Of tokens for one place it contains those learnt first, which are the most frequent.
    pub fn new(merges: &Merges, vocabulary: &Vocabulary) -> Self {
        let empty = Entry { key: 0, ids: [0; ENTRY_IDS + 1] };
        let mut cache = Cache { entries: vec![[empty; 2]; 1 << PAIRS_LOG2], memory: Memory::default() };
        let mut ids = Vec::new();
        for token in vocabulary.tokens.iter().rev().filter(|token| token.len() <= ENTRY_BYTES) {
            cache.encode(merges, token, &[0, token.len()], &mut ids);
            ids.clear();
        }
        cache
    }

    /// Appends the ids of the pieces of `text` between neighbouring `borders`.
    pub fn encode(&mut self, merges: &Merges, text: &[u8], borders: &[usize], ids: &mut Vec<u16>) {
        let mut keys = [(0, 0); PIECES_AT_ONCE];
        let mut touched = 0;
        for (key, border) in keys.iter_mut().zip(borders.windows(2)) {
            if border[1] - border[0] <= ENTRY_BYTES {
                let new = self::key(text, border[0], border[1]);
                *key = (new, place(new));
                // Nothing depends on what is read here, so the processor waits for many entries at once.
                touched ^= self.entries[key.1][0].key as u64;
            }
        }
        std::hint::black_box(touched);
        for ((key, place), border) in keys.into_iter().zip(borders.windows(2)) {
            let piece = &text[border[0]..border[1]];
            if key == 0 {
                merges.encode(piece, ids, &mut self.memory);
            } else {
                self.encode_short(merges, piece, (key, place), ids);
            }
        }
    }

    #[inline]
    fn encode_short(&mut self, merges: &Merges, piece: &[u8], (key, place): (u128, usize), ids: &mut Vec<u16>) {
        let [newer, older] = &mut self.entries[place];
        if newer.key != key {
            std::mem::swap(newer, older);
            if newer.key != key {
                let before = ids.len();
                merges.encode(piece, ids, &mut self.memory);
                return newer.set(key, &ids[before..]);
            }
        }
        // Copying all ids is less work than finding out how many to copy.
        let before = ids.len();
        ids.extend_from_slice(&newer.ids);
        ids.truncate(before + usize::from(newer.ids[ENTRY_IDS]));
    }
}

impl Entry {
    fn set(&mut self, key: u128, ids: &[u16]) {
        if ids.len() <= ENTRY_IDS {
            self.key = key;
            self.ids[..ids.len()].copy_from_slice(ids);
            self.ids[ENTRY_IDS] = ids.len() as u16;
        }
    }
}

/// Returns the key of a piece of at most [`ENTRY_BYTES`] bytes.
#[inline]
fn key(text: &[u8], start: usize, end: usize) -> u128 {
    let length = end - start;
    let bytes = match text[start..].first_chunk::<16>() {
        Some(bytes) => u128::from_le_bytes(*bytes) & ((1 << (8 * length)) - 1),
        None => text[start..end].iter().rev().fold(0, |key, byte| key << 8 | u128::from(*byte)),
    };
    bytes | (length as u128) << 120
}

#[inline]
fn place(key: u128) -> usize {
    let folded =
        (key as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ ((key >> 64) as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    ((folded ^ folded >> 29).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - PAIRS_LOG2)) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::split::pieces;
    use super::super::train::{WordCounts, train};
    use super::super::vocabulary::{END_OF_TEXT, Merge};
    use super::*;

    /// Returns a vocabulary of the single bytes and these unions of two tokens, in the order in which they were learnt.
    fn vocabulary(unions: &[(&str, &str)]) -> Vocabulary {
        let mut tokens: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
        let mut merges = Vec::new();
        for (left, right) in unions {
            let id = |text: &str| tokens.iter().position(|token| token == text.as_bytes()).unwrap() as u16;
            merges.push(Merge { left: id(left), right: id(right), union: tokens.len() as u16 });
            tokens.push([left.as_bytes(), right.as_bytes()].concat());
        }
        Vocabulary { tokens, merges, added: Vec::new() }
    }

    fn encode(merges: &Merges, piece: &[u8]) -> Vec<u16> {
        let mut ids = vec![7];
        merges.encode(piece, &mut ids, &mut Memory::default());
        assert_eq!(ids.remove(0), 7);
        ids
    }

    fn ids_of_bytes(vocabulary: &Vocabulary) -> [u16; 256] {
        std::array::from_fn(|byte| vocabulary.tokens.iter().position(|token| *token == [byte as u8]).unwrap() as u16)
    }

    /// Applies the rule literally, in quadratic time.
    fn by_the_rule(vocabulary: &Vocabulary, piece: &[u8]) -> Vec<u16> {
        let bytes = ids_of_bytes(vocabulary);
        let mut ids: Vec<u16> = piece.iter().map(|byte| bytes[usize::from(*byte)]).collect();
        let fits = |ids: &[u16]| {
            vocabulary.merges.iter().find_map(|merge| {
                let at = ids.windows(2).position(|pair| pair == [merge.left, merge.right])?;
                Some((at, merge.union))
            })
        };
        while let Some((at, union)) = fits(&ids) {
            ids[at] = union;
            ids.remove(at + 1);
        }
        ids
    }

    #[test]
    fn the_first_merge_goes_first_and_the_leftmost_of_equals() {
        let vocabulary = vocabulary(&[("b", "c"), ("a", "b"), ("a", "a"), ("aa", "a")]);
        let merges = Merges::new(&vocabulary).unwrap();
        assert!(matches!(merges, Merges::Linear(_)));
        let pairs = Merges::Pairs(Box::new(Pairs::new(&vocabulary, ids_of_bytes(&vocabulary)).unwrap()));
        for (piece, expected) in [
            (&b"abc"[..], &[97, 256][..]),
            (b"abd", &[257, 100]),
            (b"aaaa", &[258, 258]),
            (b"aaaaa", &[258, 259]),
            (b"aaa", &[259]),
            (b"\xff", &[255]),
        ] {
            for merges in [&merges, &pairs] {
                assert_eq!(encode(merges, piece), *expected, "{piece:?}");
            }
            assert_eq!(by_the_rule(&vocabulary, piece), *expected, "{piece:?}");
        }
    }

    /// `abc` is ab + c here, but b + c was learnt before a + b, so no text merges to it.
    #[test]
    fn a_vocabulary_that_training_cannot_make_is_merged_as_it_says() {
        for unions in [
            &[("b", "c"), ("a", "b"), ("ab", "c")][..],
            // One token is made in two ways.
            &[("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc")],
        ] {
            let vocabulary = vocabulary(unions);
            let merges = Merges::new(&vocabulary).unwrap();
            assert!(matches!(merges, Merges::Pairs(_)));
            for piece in [&b"abc".repeat(20)[..], b"abcbcab"] {
                assert_eq!(encode(&merges, piece), by_the_rule(&vocabulary, piece));
            }
        }
    }

    proptest! {
        /// Vocabularies of few letters, in which tokens overlap themselves and each other as much as possible.
        #[test]
        fn what_training_makes_is_merged_by_the_rule_in_every_way(
            texts in prop::collection::vec("[ab]{0,60}|[abc ]{0,60}|a{0,60}", 1..8),
            size in 258..400_usize,
            other in "[abc]{1,100}",
        ) {
            let mut words = WordCounts::new(1000);
            texts.iter().for_each(|text| words.count(text));
            let vocabulary = train(words, size, &[END_OF_TEXT.to_owned()], |_| ()).unwrap();
            let linear = Merges::new(&vocabulary).unwrap();
            prop_assert!(matches!(linear, Merges::Linear(_)));
            let pairs = Merges::Pairs(Box::new(Pairs::new(&vocabulary, ids_of_bytes(&vocabulary)).unwrap()));
            for piece in texts.iter().chain([&other]).flat_map(|text| pieces(text)) {
                let expected = by_the_rule(&vocabulary, piece.as_bytes());
                prop_assert_eq!(&encode(&linear, piece.as_bytes()), &expected);
                prop_assert_eq!(&encode(&pairs, piece.as_bytes()), &expected);
            }
        }
    }

    #[test]
    fn a_vocabulary_without_a_byte_is_refused() {
        let mut vocabulary = vocabulary(&[]);
        vocabulary.tokens.pop();
        assert_eq!(Merges::new(&vocabulary).err().unwrap(), "no token for the byte 0xff");
    }

    #[test]
    fn a_cached_piece_is_the_same_wherever_it_lies() {
        let vocabulary = vocabulary(&[("b", "c"), ("a", "b")]);
        let merges = Merges::new(&vocabulary).unwrap();
        let mut cache = Cache::new(&merges, &vocabulary);
        let mut ids = Vec::new();
        // In the middle of a text, at its end where 16 bytes cannot be read, and beside pieces of other lengths.
        let text = b"abc\0abc\0\0______________abc";
        for (start, end) in [(0, 3), (0, 4), (4, 7), (4, 8), (4, 9), (23, 26)] {
            cache.encode(&merges, text, &[start, end], &mut ids);
        }
        assert_eq!(ids, [97, 256, 97, 256, 0, 97, 256, 97, 256, 0, 97, 256, 0, 0, 97, 256]);
    }
}
