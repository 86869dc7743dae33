//! One piece of text to ids: start from single bytes and apply, again and again, the merge that was learnt first of those
//! that fit somewhere, at the leftmost place.
//!
//! Words repeat, so the ids of short pieces are kept in a [`Cache`]. A piece that is not there is merged by looking at all its
//! pairs after each merge if it is short. If it is long, the crate `bpe` finds the same ids in linear time, from left to right;
//! and a heap does, in n log n, for a vocabulary in which that crate's rule would not be the same ([`Vocabulary::dictionary`]).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::OnceLock;

use bpe::byte_pair_encoding::{BytePairEncoding, find_hash_factor_for_dictionary};

use super::vocabulary::Vocabulary;

/// Stands for "these two do not merge".
const NEVER: u32 = u32::MAX;
/// Pieces of up to so many bytes are merged pair by pair.
const SHORT: usize = 48;

/// The merges of a vocabulary, by what they merge.
pub(super) struct Merges {
    /// Open addressing: (left << 16 | right) << 32 | rank << 16 | union, or [`EMPTY`].
    slots: Vec<u64>,
    /// The ids of the single bytes.
    bytes: [u16; 256],
    /// Made when the first long piece comes: that takes a while, and most texts have none.
    linear: OnceLock<Option<Linear>>,
}

/// The encoder for long pieces.
struct Linear {
    encoder: BytePairEncoding,
    /// Its ids to the vocabulary's.
    ids: Vec<u16>,
}

/// No merge has this value: its pair would be 65,535 twice, which no vocabulary uses as a part.
const EMPTY: u64 = u64::MAX;

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
        let slots = vec![EMPTY; (vocabulary.merges.len() * 3).next_power_of_two()];
        let mut merges = Merges { slots, bytes: of_bytes, linear: OnceLock::new() };
        for (rank, merge) in vocabulary.merges.iter().enumerate() {
            let rank =
                u16::try_from(rank).map_err(|_| format!("{} merges do not fit 16 bits", vocabulary.merges.len()))?;
            merges.insert(merge.left, merge.right, rank, merge.union);
        }
        Ok(merges)
    }

    fn insert(&mut self, left: u16, right: u16, rank: u16, union: u16) {
        let pair = u32::from(left) << 16 | u32::from(right);
        let slot = self.slot(pair);
        // Of two merges of one pair the first counts.
        if self.slots[slot] == EMPTY {
            self.slots[slot] = u64::from(pair) << 32 | u64::from(rank) << 16 | u64::from(union);
        }
    }

    /// Where `pair` is, or the free slot where it would be.
    #[inline]
    fn slot(&self, pair: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = (u64::from(pair).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize & mask;
        while self.slots[slot] != EMPTY && (self.slots[slot] >> 32) as u32 != pair {
            slot = (slot + 1) & mask;
        }
        slot
    }

    /// rank << 16 | union of the merge of `left` and `right`, or [`NEVER`].
    #[inline]
    fn merge_of(&self, left: u16, right: u16) -> u32 {
        // The low half of an empty slot is `NEVER`.
        self.slots[self.slot(u32::from(left) << 16 | u32::from(right))] as u32
    }

    /// Appends the ids of `piece`. `vocabulary` is the one that these are the merges of.
    fn encode(&self, vocabulary: &Vocabulary, piece: &[u8], ids: &mut Vec<u16>, long: &mut LongPiece) {
        if piece.len() <= SHORT {
            return self.merge_short(piece, ids);
        }
        match self.linear.get_or_init(|| Linear::new(vocabulary)) {
            Some(linear) => linear.encode(piece, ids),
            None => long.merge(self, piece, ids),
        }
    }

    fn merge_short(&self, piece: &[u8], ids: &mut Vec<u16>) {
        let mut parts = [0; SHORT];
        // What merges[i] says about parts i and i + 1.
        let mut merges = [NEVER; SHORT];
        let mut count = piece.len();
        for (part, byte) in parts.iter_mut().zip(piece) {
            *part = self.bytes[usize::from(*byte)];
        }
        for i in 1..count {
            merges[i - 1] = self.merge_of(parts[i - 1], parts[i]);
        }
        loop {
            let (mut at, mut first) = (0, NEVER);
            for (i, merge) in merges[..count.saturating_sub(1)].iter().enumerate() {
                if *merge < first {
                    (at, first) = (i, *merge);
                }
            }
            if first == NEVER {
                break;
            }
            parts[at] = first as u16;
            parts.copy_within(at + 2..count, at + 1);
            merges.copy_within(at + 1..count, at);
            count -= 1;
            merges[count - 1] = NEVER;
            if at + 1 < count {
                merges[at] = self.merge_of(parts[at], parts[at + 1]);
            }
            if at > 0 {
                merges[at - 1] = self.merge_of(parts[at - 1], parts[at]);
            }
        }
        ids.extend_from_slice(&parts[..count]);
    }
}

impl Linear {
    fn new(vocabulary: &Vocabulary) -> Option<Self> {
        let ids = vocabulary.dictionary()?;
        let tokens: Vec<Vec<u8>> = ids.iter().map(|id| vocabulary.tokens[usize::from(*id)].clone()).collect();
        let hash_factor = find_hash_factor_for_dictionary(tokens.iter().cloned());
        Some(Linear { encoder: BytePairEncoding::from_dictionary(tokens, Some(hash_factor)), ids })
    }

    fn encode(&self, piece: &[u8], ids: &mut Vec<u16>) {
        ids.extend(self.encoder.encode_via_backtracking(piece).into_iter().map(|index| self.ids[index as usize]));
    }
}

/// The merging of a long piece; kept, so that its memory is.
///
/// A part is named by the position of its first byte; what is stored at other positions is left over from merges.
#[derive(Default)]
pub(super) struct LongPiece {
    id: Vec<u16>,
    /// Where the next part starts.
    next: Vec<u32>,
    /// Where the part before it starts.
    previous: Vec<u32>,
    /// What [`Merges::merge_of`] says about the part and the next one.
    merge: Vec<u32>,
    /// (rank << 16 | union) << 32 | start of merges worth a look, the first one on top; those that no longer hold are
    /// recognised when they come up.
    queue: BinaryHeap<Reverse<u64>>,
}

impl LongPiece {
    fn merge(&mut self, merges: &Merges, piece: &[u8], ids: &mut Vec<u16>) {
        let length = piece.len() as u32;
        self.id.clear();
        self.id.extend(piece.iter().map(|byte| merges.bytes[usize::from(*byte)]));
        self.next.clear();
        self.next.extend(1..=length);
        self.previous.clear();
        self.previous.extend((0..length).map(|start| start.saturating_sub(1)));
        self.merge.clear();
        self.merge.extend(self.id.windows(2).map(|pair| merges.merge_of(pair[0], pair[1])));
        self.merge.push(NEVER);
        let mut queue = std::mem::take(&mut self.queue).into_vec();
        let worth = self.merge.iter().zip(0_u64..).filter(|(merge, _)| **merge != NEVER);
        queue.extend(worth.map(|(merge, start)| Reverse(u64::from(*merge) << 32 | start)));
        self.queue = queue.into();
        while let Some(Reverse(top)) = self.queue.pop() {
            let start = top as u32 as usize;
            if self.merge[start] == (top >> 32) as u32 {
                self.merge_with_next(merges, start);
            }
        }
        let mut start = 0;
        while start < piece.len() {
            ids.push(self.id[start]);
            start = self.next[start] as usize;
        }
    }

    /// Makes the part at `start` and the next one into one part.
    fn merge_with_next(&mut self, merges: &Merges, start: usize) {
        let gone = self.next[start] as usize;
        let after = self.next[gone];
        self.id[start] = self.merge[start] as u16;
        self.next[start] = after;
        self.merge[gone] = NEVER;
        if let Some(previous) = self.previous.get_mut(after as usize) {
            *previous = start as u32;
        }
        self.look(merges, start);
        if start > 0 {
            self.look(merges, self.previous[start] as usize);
        }
    }

    /// Finds out what the part at `start` and the next one become.
    fn look(&mut self, merges: &Merges, start: usize) {
        let next = self.id.get(self.next[start] as usize);
        let merge = next.map_or(NEVER, |next| merges.merge_of(self.id[start], *next));
        self.merge[start] = merge;
        if merge != NEVER {
            self.queue.push(Reverse(u64::from(merge) << 32 | start as u64));
        }
    }
}

/// The ids of short pieces that came up: a table in which a piece has one place, and the last one there stays.
pub(super) struct Cache {
    entries: Vec<Entry>,
    long: LongPiece,
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
const ENTRIES_LOG2: u32 = 16;

impl Cache {
    pub fn new() -> Self {
        let empty = Entry { key: 0, count: 0, ids: [0; ENTRY_IDS] };
        Cache { entries: vec![empty; 1 << ENTRIES_LOG2], long: LongPiece::default() }
    }

    /// Appends the ids of the piece `start..end` of `text`.
    #[inline]
    pub fn encode(&mut self, model: (&Merges, &Vocabulary), text: &[u8], start: usize, end: usize, ids: &mut Vec<u16>) {
        let (merges, vocabulary) = model;
        if end - start > ENTRY_BYTES {
            return merges.encode(vocabulary, &text[start..end], ids, &mut self.long);
        }
        let key = key(text, start, end);
        let entry = &mut self.entries[place(key)];
        if entry.key == key {
            // Most are one token.
            if entry.count == 1 {
                ids.push(entry.ids[0]);
            } else {
                ids.extend_from_slice(&entry.ids[..usize::from(entry.count)]);
            }
            return;
        }
        let before = ids.len();
        merges.encode(vocabulary, &text[start..end], ids, &mut self.long);
        let new = &ids[before..];
        if new.len() <= ENTRY_IDS {
            entry.key = key;
            entry.count = new.len() as u16;
            entry.ids[..new.len()].copy_from_slice(new);
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
    ((folded ^ folded >> 29).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - ENTRIES_LOG2)) as usize
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

    #[test]
    fn the_first_merge_goes_first_and_the_leftmost_of_equals_short_and_long() {
        let vocabulary = vocabulary(&[("b", "c"), ("a", "b"), ("a", "a"), ("aa", "a")]);
        let merges = Merges::new(&vocabulary).unwrap();
        let mut long = LongPiece::default();
        for (piece, expected) in [
            (&b"abc"[..], &[97, 256][..]),
            (b"abd", &[257, 100]),
            (b"aaaa", &[258, 258]),
            (b"aaaaa", &[258, 259]),
            (b"aaa", &[259]),
            (b"\xff", &[255]),
        ] {
            let (mut short_ids, mut long_ids) = (vec![7], vec![7]);
            merges.merge_short(piece, &mut short_ids);
            long.merge(&merges, piece, &mut long_ids);
            assert_eq!(short_ids[1..], *expected, "{piece:?}");
            assert_eq!(long_ids, short_ids, "{piece:?}");
            let mut linear_ids = vec![7];
            Linear::new(&vocabulary).unwrap().encode(piece, &mut linear_ids);
            assert_eq!(linear_ids, short_ids, "{piece:?}");
        }
    }

    /// `abc` is ab + c here, but b + c was learnt before a + b, so no text merges to it.
    #[test]
    fn a_vocabulary_that_training_cannot_make_is_merged_as_it_says() {
        let vocabulary = vocabulary(&[("b", "c"), ("a", "b"), ("ab", "c")]);
        assert_eq!(vocabulary.dictionary(), None);
        let merges = Merges::new(&vocabulary).unwrap();
        let mut ids = Vec::new();
        merges.encode(&vocabulary, &b"abc".repeat(SHORT), &mut ids, &mut LongPiece::default());
        assert_eq!(ids, [97, 256].repeat(SHORT));
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
        let mut cache = Cache::new();
        let mut ids = Vec::new();
        // In the middle of a text, at its end where 16 bytes cannot be read, and beside pieces that differ in length.
        let text = b"abc\0abc\0\0______________abc";
        for (start, end) in [(0, 3), (0, 4), (4, 7), (4, 8), (4, 9), (23, 26)] {
            cache.encode((&merges, &vocabulary), text, start, end, &mut ids);
        }
        assert_eq!(ids, [97, 256, 97, 256, 0, 97, 256, 97, 256, 0, 97, 256, 0, 0, 97, 256]);
    }
}
