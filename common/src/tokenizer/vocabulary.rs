//! What a byte-level BPE tokenizer is made of, whatever files it came from.

use rustc_hash::{FxHashMap, FxHashSet};

/// The text of the special token before each document.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// Ids fit u16, as token shards have them.
pub const MOST_TOKENS: usize = 1 << 16;

/// A vocabulary of byte-level BPE. Ids are below 65,536, so that they fit the u16 of token shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    /// The bytes of every token, by id; those of added tokens are their text.
    pub tokens: Vec<Vec<u8>>,
    /// The merges in the order in which they were learnt; the first applies first.
    pub merges: Vec<Merge>,
    /// The tokens that are found in text as a whole, in the order of their ids; `<|endoftext|>` is among them.
    pub added: Vec<AddedToken>,
}

/// A token that is found in text before that is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddedToken {
    /// Its id.
    pub id: u16,
    /// Whether documents never have it: it is found only where special tokens are asked for.
    pub special: bool,
    /// Whether it counts only where no letter, number or `_` is beside it.
    pub single_word: bool,
    /// Whether it is looked for after those that are not.
    pub normalized: bool,
}

impl AddedToken {
    /// A special token.
    pub fn special(id: u16) -> Self {
        AddedToken { id, special: true, single_word: false, normalized: false }
    }
}

/// Two neighbouring tokens that become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Merge {
    /// The first of the two.
    pub left: u16,
    /// The second.
    pub right: u16,
    /// What they become.
    pub union: u16,
}

impl Vocabulary {
    /// The ids of the special tokens, which encoding a document never makes.
    pub fn special(&self) -> impl Iterator<Item = u16> {
        self.added.iter().filter(|token| token.special).map(|token| token.id)
    }

    /// Checks that ids fit 16 bits, that no token is empty, that added ones are text, and that no merge is there twice and each
    /// makes what its two tokens are together, which is no special token: encoding a document never makes these.
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

/// Where the two parts meet that the tokens of a rank below `limit` merge `token` to.
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
