//! Byte-level BPE: encodes text to token ids, decodes ids, and trains vocabularies.
//!
//! GPT-2's own vocabulary (50,256 merged tokens and end-of-text) comes with the `tiktoken` crate, so nothing is fetched
//! at run time. Other vocabularies are read from the files that Hugging Face's libraries write. Only the vocabulary is taken
//! from that crate. Splitting and merging are done here, in time that is linear in the text up to a logarithm, for any text.
//! docs/tokenizer.md specifies exactly which ids a text has.
//!
//! - `split`: splits text into the pieces that merges never cross.
//! - `merge`: merges one piece to ids, with a cache of pieces; `linear`, `trie`, `heap` and `pair_table`: its algorithms.
//! - [`Tokenizer`]: all of that together; `open`: opens the tokenizer that a config names.
//! - `vocabulary`: the contents of a tokenizer.
//! - `gpt2`: GPT-2's vocabulary.
//! - `added`: tokens that are found in a text before it is split.
//! - `printable`: tokens in the characters of files. [`files`]: vocabularies from and to files; `tokenizer_json`: the
//!   meaning of one of these files, and what is refused.
//! - [`train`]: learns a vocabulary from texts.
//! - `decode`: decodes ids to text as they arrive.

mod added;
mod bpe;
mod decode;
mod error;
pub mod files;
mod gpt2;
mod heap;
mod linear;
mod merge;
mod open;
mod pair_table;
mod printable;
mod split;
mod tokenizer_json;
pub mod train;
mod trie;
mod vocabulary;

pub use bpe::Tokenizer;
pub use decode::DecodeStream;
pub use error::TokenizerError;
pub use vocabulary::{AddedToken, END_OF_TEXT, MOST_TOKENS, Merge, Vocabulary};

/// Splits `text` into the pieces that merges never cross, in order, as GPT-2 does.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    split::pieces(text)
}
