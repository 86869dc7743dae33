//! The contents of a byte-level BPE tokenizer, independent of its files.

use rustc_hash::{FxHashMap, FxHashSet};

/// Text of the special token before each document.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// Largest number of tokens: ids fit the u16 of token shards.
pub const MOST_TOKENS: usize = 1 << 16;

/// A vocabulary of byte-level BPE. Ids are below 65,536, so that they fit the u16 of token shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    /// Bytes of every token, by id. Those of added tokens are their text.
    pub tokens: Vec<Vec<u8>>,
    /// Merges, in the order in which they were learnt. The first applies first.
    pub merges: Vec<Merge>,
    /// Added tokens, which are found in text as a whole, in the order of their ids. `<|endoftext|>` is among them.
    pub added: Vec<AddedToken>,
}

/// A token that is found in text before the text is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddedToken {
    /// Id of the token.
    pub id: u16,
    /// Whether the token is found only where special tokens are requested, and never in documents.
    pub special: bool,
    /// Whether it counts only if no letter, number or `_` is beside it.
    pub single_word: bool,
    /// Whether it is searched after the tokens that are not normalized.
    pub normalized: bool,
}

impl AddedToken {
    /// Returns a special token.
    pub fn special(id: u16) -> Self {
        AddedToken { id, special: true, single_word: false, normalized: false }
    }
}

/// A merge of two neighbouring tokens into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Merge {
    /// Left token.
    pub left: u16,
    /// Right token.
    pub right: u16,
    /// Token that they become.
    pub union: u16,
}

impl Vocabulary {
    /// Returns the ids of the special tokens, which encoding a document never gives.
    pub fn special(&self) -> impl Iterator<Item = u16> {
        self.added.iter().filter(|token| token.special).map(|token| token.id)
    }

    /// Checks that ids fit 16 bits, that no token is empty, that added tokens are text, and that each merge is unique and
    /// makes the concatenation of its two tokens. No merge may make a special token, since encoding a document never gives these.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.tokens.len() > MOST_TOKENS {
            return Err(format!("{} tokens, and ids of 16 bits allow {MOST_TOKENS}", self.tokens.len()));
        }
        if let Some(id) = self.tokens.iter().position(Vec::is_empty) {
            return Err(format!("the token {id} is empty"));
        }
        let token = |id: u16| self.tokens.get(usize::from(id)).map(Vec::as_slice);
        if let Some(pair) = self.added.windows(2).find(|pair| pair[0].id >= pair[1].id) {
            return Err(format!("the added token {} is behind {}, out of order", pair[1].id, pair[0].id));
        }
        if let Some(added) = self.added.iter().find(|a| token(a.id).is_none_or(|t| std::str::from_utf8(t).is_err())) {
            return Err(format!("the added token {} is not in the vocabulary, or no text", added.id));
        }
        let special: FxHashSet<u16> = self.special().collect();
        let mut merged = FxHashSet::default();
        for (rank, merge) in self.merges.iter().enumerate() {
            let (Some(left), Some(right), Some(union)) = (token(merge.left), token(merge.right), token(merge.union))
            else {
                return Err(format!("merge {rank} has a token that is not in the vocabulary"));
            };
            if [left, right].concat() != union {
                return Err(format!("merge {rank} makes something else than its two tokens together"));
            }
            if special.contains(&merge.union) {
                return Err(format!("merge {rank} makes the special token {}", merge.union));
            }
            if !merged.insert((merge.left, merge.right)) {
                return Err(format!("merge {rank} is there twice, of the tokens {} and {}", merge.left, merge.right));
            }
        }
        Ok(())
    }
}

/// Returns where the last two parts of `token` meet, when only merges of a rank below `limit` are applied.
pub(super) fn last_join(token: &[u8], limit: usize, rank_of: &FxHashMap<&[u8], usize>) -> Option<usize> {
    let mut bounds: Vec<usize> = (0..=token.len()).collect();
    while bounds.len() > 3 {
        let unions =
            (1..bounds.len() - 1).filter_map(|i| Some((*rank_of.get(&token[bounds[i - 1]..bounds[i + 1]])?, i)));
        let (_, first) = unions.filter(|(rank, _)| *rank < limit).min()?;
        bounds.remove(first);
    }
    Some(bounds[1])
}
