//! Merges by the rule itself: of the merges that apply anywhere, the one learnt first, at the leftmost place.
//!
//! Used for vocabularies that training cannot make, on which the faster algorithm ([`super::linear`]) would give other ids.
//! A heap holds the merges that apply, so the time is n log n.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::pair_table::{NEVER, PairTable};
use super::vocabulary::Vocabulary;

/// Merges of a vocabulary, by the pair that they merge.
pub(super) struct Pairs {
    /// rank << 16 | union, below [`NEVER`], since ranks are below 65,535.
    merges: PairTable,
    /// Ids of the single bytes.
    bytes: [u16; 256],
}

impl Pairs {
    pub fn new(vocabulary: &Vocabulary, bytes: [u16; 256]) -> Result<Self, String> {
        let mut merges = PairTable::new(vocabulary.merges.len());
        for (rank, merge) in vocabulary.merges.iter().enumerate() {
            let rank = u16::try_from(rank).ok().filter(|rank| *rank < u16::MAX);
            let rank = rank.ok_or_else(|| format!("{} merges do not fit 16 bits", vocabulary.merges.len()))?;
            merges.insert(merge.left, merge.right, u32::from(rank) << 16 | u32::from(merge.union));
        }
        Ok(Pairs { merges, bytes })
    }

    /// Returns rank << 16 | union of the merge of `left` and `right`, or [`NEVER`].
    #[inline]
    fn merge_of(&self, left: u16, right: u16) -> u32 {
        self.merges.get(left, right)
    }
}

/// Working memory for merging a piece, kept from piece to piece.
///
/// A part is identified by the position of its first byte. Entries at other positions are left over from merges.
#[derive(Clone, Default)]
pub(super) struct Piece {
    id: Vec<u16>,
    /// Start of the next part.
    next: Vec<u32>,
    /// Start of the previous part.
    previous: Vec<u32>,
    /// Result of [`Pairs::merge_of`] for the part and the next one.
    merge: Vec<u32>,
    /// (rank << 16 | union) << 32 | start of candidate merges, the first one on top. Outdated entries are recognised when
    /// they come up.
    queue: BinaryHeap<Reverse<u64>>,
}

impl Piece {
    /// Appends the ids of `piece`.
    pub fn encode(&mut self, pairs: &Pairs, piece: &[u8], ids: &mut Vec<u16>) {
        let length = piece.len() as u32;
        self.id.clear();
        self.id.extend(piece.iter().map(|byte| pairs.bytes[usize::from(*byte)]));
        self.next.clear();
        self.next.extend(1..=length);
        self.previous.clear();
        self.previous.extend((0..length).map(|start| start.saturating_sub(1)));
        self.merge.clear();
        self.merge.extend(self.id.windows(2).map(|pair| pairs.merge_of(pair[0], pair[1])));
        self.merge.push(NEVER);
        let mut queue = std::mem::take(&mut self.queue).into_vec();
        let worth = self.merge.iter().zip(0_u64..).filter(|(merge, _)| **merge != NEVER);
        queue.extend(worth.map(|(merge, start)| Reverse(u64::from(*merge) << 32 | start)));
        self.queue = queue.into();
        while let Some(Reverse(top)) = self.queue.pop() {
            let start = top as u32 as usize;
            if self.merge[start] == (top >> 32) as u32 {
                self.merge_with_next(pairs, start);
            }
        }
        let mut start = 0;
        while start < piece.len() {
            ids.push(self.id[start]);
            start = self.next[start] as usize;
        }
    }

    /// Merges the part at `start` with the next one.
    fn merge_with_next(&mut self, pairs: &Pairs, start: usize) {
        let gone = self.next[start] as usize;
        let after = self.next[gone];
        self.id[start] = self.merge[start] as u16;
        self.next[start] = after;
        self.merge[gone] = NEVER;
        if let Some(previous) = self.previous.get_mut(after as usize) {
            *previous = start as u32;
        }
        self.look(pairs, start);
        if start > 0 {
            self.look(pairs, self.previous[start] as usize);
        }
    }

    /// Finds out what the part at `start` and the next one merge to.
    fn look(&mut self, pairs: &Pairs, start: usize) {
        let next = self.id.get(self.next[start] as usize);
        let merge = next.map_or(NEVER, |next| pairs.merge_of(self.id[start], *next));
        self.merge[start] = merge;
        if merge != NEVER {
            self.queue.push(Reverse(u64::from(merge) << 32 | start as u64));
        }
    }
}
