//! One piece of text to ids: start from single bytes and apply, again and again, the merge that was learnt first of those
//! that fit somewhere, at the leftmost place.
//!
//! Words repeat, so the ids of short pieces are kept in a [`Cache`]. A piece that is not there is merged by `linear`, which
//! finds the same ids from left to right; or, for a vocabulary in which it would not, by `heap`.

use super::heap::{self, Pairs};
use super::linear::{Linear, Places};
use super::vocabulary::Vocabulary;

/// How pieces are merged, for one vocabulary.
pub(super) enum Merges {
    Linear(Linear),
    Pairs(Box<Pairs>),
}

impl Merges {
    /// Takes the merges of `vocabulary`, in which every single byte must be a token.
    pub fn new(vocabulary: &Vocabulary) -> Result<Self, String> {
        let mut bytes = [None; 256];
        for (id, token) in (0..=u16::MAX).zip(&vocabulary.tokens) {
            if let [byte] = token[..]
                && !vocabulary.special.contains(&id)
            {
                bytes[usize::from(byte)] = Some(id);
            }
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

/// What merging needs, kept from piece to piece.
#[derive(Default)]
struct Memory {
    closed: Places,
    piece: heap::Piece,
}

/// The ids of short pieces that came up: a table in which a piece has two places, of which the last two there have one each.
pub(super) struct Cache {
    entries: Vec<[Entry; 2]>,
    memory: Memory,
}

#[derive(Clone, Copy)]
struct Entry {
    /// The bytes of the piece, and in the highest one how many they are; 0 for none.
    key: u128,
    count: u16,
    ids: [u16; ENTRY_IDS],
}

/// The longest piece that the cache takes.
const ENTRY_BYTES: usize = 15;
/// The most ids of a piece that the cache takes.
const ENTRY_IDS: usize = 7;
/// 2 MiB of entries: words that are frequent enough to matter are some tens of thousands.
const PAIRS_LOG2: u32 = 15;

impl Cache {
    pub fn new() -> Self {
        let empty = Entry { key: 0, count: 0, ids: [0; ENTRY_IDS] };
        Cache { entries: vec![[empty; 2]; 1 << PAIRS_LOG2], memory: Memory::default() }
    }

    /// Appends the ids of the piece `start..end` of `text`.
    #[inline]
    pub fn encode(&mut self, merges: &Merges, text: &[u8], start: usize, end: usize, ids: &mut Vec<u16>) {
        if end - start > ENTRY_BYTES {
            return merges.encode(&text[start..end], ids, &mut self.memory);
        }
        let key = key(text, start, end);
        let [newer, older] = &mut self.entries[place(key)];
        if newer.key != key {
            std::mem::swap(newer, older);
            if newer.key != key {
                let before = ids.len();
                merges.encode(&text[start..end], ids, &mut self.memory);
                return newer.set(key, &ids[before..]);
            }
        }
        // Most are one token.
        if newer.count == 1 {
            ids.push(newer.ids[0]);
        } else {
            ids.extend_from_slice(&newer.ids[..usize::from(newer.count)]);
        }
    }
}

impl Entry {
    fn set(&mut self, key: u128, ids: &[u16]) {
        if ids.len() <= ENTRY_IDS {
            self.key = key;
            self.count = ids.len() as u16;
            self.ids[..ids.len()].copy_from_slice(ids);
        }
    }
}

/// The key of a piece of at most [`ENTRY_BYTES`] bytes.
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
    use super::super::vocabulary::Merge;
    use super::*;

    /// The single bytes and these unions of two tokens, in the order in which they were learnt.
    fn vocabulary(unions: &[(&str, &str)]) -> Vocabulary {
        let mut tokens: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
        let mut merges = Vec::new();
        for (left, right) in unions {
            let id = |text: &str| tokens.iter().position(|token| token == text.as_bytes()).unwrap() as u16;
            merges.push(Merge { left: id(left), right: id(right), union: tokens.len() as u16 });
            tokens.push([left.as_bytes(), right.as_bytes()].concat());
        }
        Vocabulary { tokens, merges, special: Vec::new() }
    }

    fn encode(merges: &Merges, piece: &[u8]) -> Vec<u16> {
        let mut ids = vec![7];
        merges.encode(piece, &mut ids, &mut Memory::default());
        assert_eq!(ids.remove(0), 7);
        ids
    }

    /// The rule as it is written: quadratic.
    fn by_the_rule(vocabulary: &Vocabulary, piece: &[u8]) -> Vec<u16> {
        let mut ids: Vec<u16> = piece.iter().copied().map(u16::from).collect();
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
        let pairs = Merges::Pairs(Box::new(Pairs::new(&vocabulary, std::array::from_fn(|byte| byte as u16)).unwrap()));
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
            // One token made in two ways.
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

    #[test]
    fn a_vocabulary_without_a_byte_is_refused() {
        let mut vocabulary = vocabulary(&[]);
        vocabulary.tokens.pop();
        assert_eq!(Merges::new(&vocabulary).err().unwrap(), "no token for the byte 0xff");
    }

    #[test]
    fn a_cached_piece_is_the_same_wherever_it_lies() {
        let merges = Merges::new(&vocabulary(&[("b", "c"), ("a", "b")])).unwrap();
        let mut cache = Cache::new();
        let mut ids = Vec::new();
        // In the middle of a text, at its end where 16 bytes cannot be read, and beside pieces that differ in length.
        let text = b"abc\0abc\0\0______________abc";
        for (start, end) in [(0, 3), (0, 4), (4, 7), (4, 8), (4, 9), (23, 26)] {
            cache.encode(&merges, text, start, end, &mut ids);
        }
        assert_eq!(ids, [97, 256, 97, 256, 0, 97, 256, 97, 256, 0, 97, 256, 0, 0, 97, 256]);
    }
}
