//! What a byte-level BPE tokenizer is made of, whatever files it came from.

/// A vocabulary of byte-level BPE. Ids are below 65,536, so that they fit the u16 of token shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    /// The bytes of every token, by id; those of special tokens are their text.
    pub tokens: Vec<Vec<u8>>,
    /// The merges in the order in which they were learnt; the first applies first.
    pub merges: Vec<Merge>,
    /// The ids of the special tokens, which encoding text never makes; `<|endoftext|>` is among them.
    pub special: Vec<u16>,
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
