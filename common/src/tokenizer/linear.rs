//! Merges in time linear in the piece, from left to right, without trying out merges.
//!
//! The ids of a piece are the only sequence of its tokens in which no two neighbours would have merged across their border.
//! The algorithm therefore takes the longest token that can follow the last one. If nothing leads on to the end, it replaces
//! the last token by a shorter one, and no token ends at that place again: the text before a place has only one such
//! sequence, so nothing else leads there, either. The crate `bpe` works this way.
//!
//! Whether a sequence is valid depends on its pairs alone, since a merge across a border happens, or does not, by the
//! history of the two tokens that meet there. This requires a vocabulary in which each token is made in one way.

use super::pair_table::{NEVER, PairTable, hash, pair};
use super::trie::{NONE, Trie};
use super::vocabulary::Vocabulary;

/// Number of single bytes, which are the first tokens.
const BYTES: u16 = 256;
/// Binary logarithm of the number of words of hints, 128 KiB. With 50,000 merges, one in twenty pairs without a union is
/// looked up in vain.
const HINT_WORDS_LOG2: u32 = 14;

/// Merges of a vocabulary. Tokens are numbered in the order in which they were learnt, the single bytes first.
pub(super) struct Linear {
    trie: Trie,
    tokens: Vec<Token>,
    unions: PairTable,
    /// Whether a pair may have a union, by the pair's hash. Most pairs have none, and this table is small enough to stay in
    /// a near cache.
    hints: Vec<u64>,
    /// Ids in the vocabulary, by token number.
    ids: Vec<u16>,
}

#[derive(Clone, Copy)]
struct Token {
    /// Left part that the token was merged from; 0 for a single byte.
    left: u16,
    right: u16,
    /// Longest other token that this one starts with, or [`NONE`].
    shorter: u16,
    length: u16,
}

impl Linear {
    /// Returns `None` if `vocabulary` has a token whose two parts the earlier merges do not produce, or one that several
    /// merges make. Training makes no such vocabulary.
    pub fn new(vocabulary: &Vocabulary, bytes: &[u16; 256]) -> Option<Self> {
        let ids: Vec<u16> = bytes.iter().copied().chain(vocabulary.merges.iter().map(|merge| merge.union)).collect();
        if ids.len() > usize::from(NONE) {
            return None;
        }
        let mut number_of = vec![NONE; vocabulary.tokens.len()];
        for (number, id) in (0..NONE).zip(&ids) {
            number_of[usize::from(*id)] = number;
        }
        let texts: Vec<&[u8]> = ids.iter().map(|id| vocabulary.tokens[usize::from(*id)].as_slice()).collect();
        // Refuses equal tokens, so that token numbers are unique.
        let trie = Trie::new(&texts)?;
        let unions = PairTable::new(vocabulary.merges.len());
        let mut linear =
            Linear { trie, tokens: Vec::with_capacity(ids.len()), unions, hints: vec![0; 1 << HINT_WORDS_LOG2], ids };
        let bytes_left_and_right = std::iter::repeat_n([0, 0], bytes.len());
        let merged =
            vocabulary.merges.iter().map(|merge| [merge.left, merge.right].map(|id| number_of[usize::from(id)]));
        for (text, [left, right]) in texts.into_iter().zip(bytes_left_and_right.chain(merged)) {
            let number = linear.tokens.len() as u16;
            if number >= BYTES {
                if left.max(right) >= number || !linear.meet(left, right, number.into()) {
                    return None;
                }
                let (word, bit) = hint(left, right);
                linear.hints[word] |= bit;
                linear.unions.insert(left, right, number.into());
            }
            let start = &text[..text.len() - 1];
            let shorter = if start.is_empty() { NONE } else { linear.trie.longest(start).0 };
            linear.tokens.push(Token { left, right, shorter, length: u16::try_from(text.len()).ok()? });
        }
        Some(linear)
    }

    /// Appends the ids of `piece`. `closed` is working memory.
    pub fn encode(&self, piece: &[u8], ids: &mut Vec<u16>, closed: &mut Places) {
        closed.open_all(piece.len());
        let first = ids.len();
        let mut at = 0;
        while at < piece.len() {
            let (mut token, mut length) = self.trie.longest(&piece[at..]);
            while closed.is_closed(at + length) || !self.may_follow(&ids[first..], token) {
                token = self.tokens[usize::from(token)].shorter;
                while token == NONE {
                    closed.close(at);
                    // The first token of the result starts at the beginning, so something is left to replace.
                    let Some(last) = ids.pop().filter(|_| at > 0) else { return };
                    at -= self.length(last);
                    token = self.tokens[usize::from(last)].shorter;
                }
                length = self.length(token);
            }
            ids.push(token);
            at += length;
        }
        for id in &mut ids[first..] {
            *id = self.ids[usize::from(*id)];
        }
    }

    /// Returns whether `token` may come after `before`.
    #[inline]
    fn may_follow(&self, before: &[u16], token: u16) -> bool {
        before.last().is_none_or(|last| self.meet(*last, token, NEVER))
    }

    /// Returns whether `left` and `right`, side by side, stay apart while the tokens below `limit` are made.
    ///
    /// Undoes the two tokens, the younger part first, and looks at what met then. Had that pair merged before the undone
    /// merge, that merge would not have happened. Of equals the left one merges first.
    #[inline]
    fn meet(&self, mut left: u16, mut right: u16, mut limit: u32) -> bool {
        loop {
            if self.union_of(left, right) < limit {
                return false;
            }
            if left > right {
                limit = left.into();
                if left < BYTES {
                    return true;
                }
                left = self.tokens[usize::from(left)].right;
            } else {
                limit = u32::from(right) + 1;
                if right < BYTES {
                    return true;
                }
                right = self.tokens[usize::from(right)].left;
            }
        }
    }

    #[inline]
    fn length(&self, token: u16) -> usize {
        self.tokens[usize::from(token)].length.into()
    }

    /// Returns what `left` and `right` merge to, or [`NEVER`].
    #[inline]
    fn union_of(&self, left: u16, right: u16) -> u32 {
        let (word, bit) = hint(left, right);
        if self.hints[word] & bit == 0 {
            return NEVER;
        }
        self.unions.get(left, right)
    }
}

/// Returns the place of the hint for a pair: the word, and the bit in it.
#[inline]
fn hint(left: u16, right: u16) -> (usize, u64) {
    let hash = hash(pair(left, right));
    ((hash >> (64 - HINT_WORDS_LOG2)) as usize, 1 << (hash >> (58 - HINT_WORDS_LOG2) & 63))
}

/// A set of places in a piece.
#[derive(Clone, Default)]
pub(super) struct Places {
    bits: Vec<u64>,
}

impl Places {
    fn open_all(&mut self, length: usize) {
        self.bits.clear();
        self.bits.resize(length / 64 + 1, 0);
    }

    fn close(&mut self, place: usize) {
        self.bits[place / 64] |= 1 << (place % 64);
    }

    fn is_closed(&self, place: usize) -> bool {
        self.bits[place / 64] >> (place % 64) & 1 != 0
    }
}
