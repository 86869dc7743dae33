//! Byte-level BPE: text to token ids and back, and training.
//!
//! GPT-2's own vocabulary (50,256 merged tokens and end-of-text) comes with the `tiktoken-rs` crate, so nothing is fetched
//! at run time; others are read from the files that Hugging Face's libraries write. Only the vocabulary is that crate's:
//! its encoder splits text with a backtracking regex and panics where that gives up, so splitting and merging are done
//! here, in time that stays linear in the text but for a logarithm, whatever the text is. docs/tokenizer.md says
//! what the ids of a text are, to the letter.
//!
//! - `split`: text to the pieces that merges never cross.
//! - `merge`: one piece to ids, and the cache of pieces; `linear`, `trie`, `heap` and `pair_table`: how.
//! - [`Tokenizer`]: all that together. `open`: where one comes from.
//! - `vocabulary`: what a tokenizer is made of.
//! - `gpt2`: GPT-2's vocabulary.
//! - `added`: tokens that are found in a text before it is split.
//! - `printable`: tokens as files show them. [`files`]: vocabularies from and to files; `tokenizer_json`: what one of these says, and what is refused.
//! - [`train`]: texts to a vocabulary.
//! - `decode`: ids to text as they come.

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

/// The pieces of `text` that merges never cross, in order: GPT-2's split.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    split::pieces(text)
}
