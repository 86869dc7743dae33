//! One piece of text to ids: start from single bytes and merge, again and again, the neighbours whose union has the
//! lowest id in the vocabulary (ids are in the order in which the merges were learnt), the leftmost of equals.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use rustc_hash::FxBuildHasher;

/// Stands for "no such token"; the vocabulary has fewer.
const NONE: u16 = u16::MAX;

/// The vocabulary, by the bytes of its tokens.
pub(super) struct Merges {
    ids: HashMap<Vec<u8>, u16, FxBuildHasher>,
    /// The ids of the single bytes.
    bytes: [u16; 256],
}

/// What a piece looks like while its parts are merged. A part is named by the position of its first byte; what is
/// stored at other positions is left over from merges and means nothing.
struct Parts<'p> {
    piece: &'p [u8],
    /// Where the part ends and the next one starts.
    end: Vec<usize>,
    /// Where the part before it starts.
    previous: Vec<usize>,
    /// The part's id.
    id: Vec<u16>,
    /// The id of the part and the next one together, [`NONE`] where they are no token.
    union: Vec<u16>,
    /// Unions worth a look, lowest id first; those that no longer hold are recognised when they come up.
    queue: BinaryHeap<Reverse<(u16, usize)>>,
}

impl Merges {
    /// Takes the bytes of each id; every single byte must be among them.
    pub fn new(tokens: &[Vec<u8>]) -> Result<Self, String> {
        if tokens.len() >= usize::from(NONE) {
            return Err(format!("{} tokens do not fit ids of 16 bits", tokens.len()));
        }
        let ids: HashMap<Vec<u8>, u16, FxBuildHasher> = tokens.iter().cloned().zip(0..).collect();
        let mut bytes = [NONE; 256];
        for (byte, id) in (0..=u8::MAX).zip(&mut bytes) {
            *id = *ids.get([byte].as_slice()).ok_or_else(|| format!("no token for the byte {byte:#04x}"))?;
        }
        Ok(Merges { ids, bytes })
    }

    /// Appends the ids of `piece`.
    pub fn encode(&self, piece: &[u8], ids: &mut Vec<u16>) {
        // Most pieces of real text are one token.
        match self.id(piece) {
            NONE => self.merge(piece, ids),
            id => ids.push(id),
        }
    }

    fn id(&self, bytes: &[u8]) -> u16 {
        self.ids.get(bytes).copied().unwrap_or(NONE)
    }

    fn merge(&self, piece: &[u8], ids: &mut Vec<u16>) {
        let mut parts = Parts {
            piece,
            end: (1..=piece.len()).collect(),
            previous: (0..piece.len()).map(|start| start.saturating_sub(1)).collect(),
            id: piece.iter().map(|byte| self.bytes[usize::from(*byte)]).collect(),
            union: vec![NONE; piece.len()],
            queue: BinaryHeap::with_capacity(piece.len()),
        };
        for start in 0..piece.len() {
            parts.look_at_union(self, start);
        }
        while let Some(Reverse((id, start))) = parts.queue.pop() {
            if parts.union[start] == id {
                parts.merge_with_next(self, start);
            }
        }
        let mut start = 0;
        while start < piece.len() {
            ids.push(parts.id[start]);
            start = parts.end[start];
        }
    }
}

impl Parts<'_> {
    /// Finds out what the part at `start` and the next one are together.
    fn look_at_union(&mut self, merges: &Merges, start: usize) {
        let next = self.end[start];
        self.union[start] = if next < self.piece.len() { merges.id(&self.piece[start..self.end[next]]) } else { NONE };
        if self.union[start] != NONE {
            self.queue.push(Reverse((self.union[start], start)));
        }
    }

    /// Makes the part at `start` and the next one into one part.
    fn merge_with_next(&mut self, merges: &Merges, start: usize) {
        let next = self.end[start];
        self.id[start] = self.union[start];
        self.end[start] = self.end[next];
        // The part at `next` is gone, and with it its union.
        self.union[next] = NONE;
        if self.end[start] < self.piece.len() {
            self.previous[self.end[start]] = start;
        }
        self.look_at_union(merges, start);
        if start > 0 {
            self.look_at_union(merges, self.previous[start]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_id_merges_first_and_the_leftmost_of_equals() {
        let mut tokens: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
        tokens.extend([b"bc".to_vec(), b"ab".to_vec(), b"aa".to_vec(), b"aaa".to_vec()]);
        let merges = Merges::new(&tokens).unwrap();
        let check = |piece: &[u8], expected: &[u16]| {
            let mut ids = vec![7];
            merges.encode(piece, &mut ids);
            assert_eq!(ids[1..], *expected, "{piece:?}");
        };
        check(b"abc", &[97, 256]);
        check(b"abd", &[257, 100]);
        check(b"aaaa", &[258, 258]);
        check(b"aaaaa", &[258, 259]);
        check(b"aaa", &[259]);
        check(b"\xff", &[255]);
    }

    #[test]
    fn a_vocabulary_without_a_byte_is_refused() {
        let tokens: Vec<Vec<u8>> = (0..u8::MAX).map(|byte| vec![byte]).collect();
        assert_eq!(Merges::new(&tokens).err().unwrap(), "no token for the byte 0xff");
    }
}
