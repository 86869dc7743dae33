//! Byte-level BPE: text to token ids and back.
//!
//! The only vocabulary today is OpenAI's GPT-2 (50,256 merged tokens and end-of-text). It comes with the `tiktoken-rs`
//! crate, so nothing is fetched at run time. Only the vocabulary is that crate's: its encoder splits text with a
//! backtracking regex and panics where that gives up, so splitting and merging are done here, in time that
//! stays linear in the text but for a logarithm, whatever the text is.
//!
//! - `split`: text to the pieces that merges never cross.
//! - `merge`: one piece to ids.

mod merge;
mod split;
mod vocabulary;

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tiktoken_rs::CoreBPE;

use merge::Merges;
use split::Splitter;
pub use vocabulary::{Merge, Vocabulary};

/// A byte-level BPE vocabulary. Cheap to clone, and to be shared between threads.
#[derive(Clone)]
pub struct Tokenizer {
    shared: Arc<Shared>,
}

struct Shared {
    splitter: Splitter,
    merges: Merges,
    /// The bytes of every id, end-of-text included.
    tokens: Vec<Vec<u8>>,
    hash: String,
}

/// The vocabulary cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot load the tokenizer {name:?}: {reason}; the one that exists today is \"gpt2\"")]
pub struct TokenizerError {
    name: String,
    reason: String,
}

/// The text of the special token.
const END_OF_TEXT: &[u8] = b"<|endoftext|>";

/// The pattern that splits text before merging, as OpenAI published it with GPT-2; it goes into the hash.
const GPT2_SPLIT: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

impl Tokenizer {
    /// The token before each document, `<|endoftext|>`.
    pub const END_OF_TEXT: u16 = 50_256;

    /// Loads the vocabulary called `name`.
    pub fn load(name: &str) -> Result<Self, TokenizerError> {
        let refuse = |reason: String| TokenizerError { name: name.to_owned(), reason };
        if name != "gpt2" {
            return Err(refuse("unknown name".into()));
        }
        let bpe = tiktoken_rs::r50k_base().map_err(|e| refuse(e.to_string()))?;
        let tokens = vocabulary(&bpe).map_err(refuse)?;
        let merges = Merges::new(&tokens[..usize::from(Self::END_OF_TEXT)]).map_err(refuse)?;
        let splitter = Splitter::gpt2().map_err(|e| refuse(e.to_string()))?;
        let hash = hash(&tokens);
        Ok(Tokenizer { shared: Arc::new(Shared { splitter, merges, tokens, hash }) })
    }

    /// Number of tokens in the vocabulary, end-of-text included.
    pub fn vocabulary(&self) -> u32 {
        u32::from(Self::END_OF_TEXT) + 1
    }

    /// SHA-256 over the vocabulary, in hex: equal for equal tokenizers, whatever files they came from.
    pub fn hash(&self) -> &str {
        &self.shared.hash
    }

    /// The ids of `text`, in which `<|endoftext|>` is ordinary text.
    pub fn encode(&self, text: &str) -> Vec<u16> {
        let mut ids = Vec::new();
        for piece in self.shared.splitter.pieces(text) {
            self.shared.merges.encode(piece.as_bytes(), &mut ids);
        }
        ids
    }

    /// The bytes of `ids`, which may end in the middle of a character; `None` if one is not in the vocabulary.
    pub fn decode(&self, ids: &[u16]) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for id in ids {
            bytes.extend_from_slice(self.shared.tokens.get(usize::from(*id))?);
        }
        Some(bytes)
    }
}

/// The bytes of every token in id order, the special one last.
fn vocabulary(bpe: &CoreBPE) -> Result<Vec<Vec<u8>>, String> {
    let merged = (0..u32::from(Tokenizer::END_OF_TEXT)).map(|id| bpe.decode_bytes(&[id]).map_err(|e| e.to_string()));
    merged.chain([Ok(END_OF_TEXT.to_vec())]).collect()
}

/// SHA-256 over (u32 little-endian length, bytes) of each token in id order, the special one last, then of the split
/// pattern.
fn hash(tokens: &[Vec<u8>]) -> String {
    let mut hasher = Sha256::new();
    for bytes in tokens.iter().map(Vec::as_slice).chain([GPT2_SPLIT.as_bytes()]) {
        hasher.update((bytes.len() as u32).to_le_bytes());
        hasher.update(bytes);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_of_a_megabyte_encodes_and_decodes() {
        let tokenizer = Tokenizer::load("gpt2").unwrap();
        let length = 1 << 20;
        for unit in ["a", " ", "\u{a0}", "1", " '", "-", "漢", "\n a", "a\u{301}"] {
            let text = unit.repeat(length / unit.len()) + "\tx";
            let ids = tokenizer.encode(&text);
            assert!(tokenizer.decode(&ids).unwrap() == text.as_bytes(), "{unit:?}");
        }
    }

    #[test]
    fn end_of_text_is_never_an_id_of_text() {
        let tokenizer = Tokenizer::load("gpt2").unwrap();
        let ids = tokenizer.encode("a<|endoftext|>b");
        assert!(!ids.contains(&Tokenizer::END_OF_TEXT), "{ids:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), b"a<|endoftext|>b");
        assert_eq!(tokenizer.decode(&[Tokenizer::END_OF_TEXT]).unwrap(), END_OF_TEXT);
        assert_eq!(tokenizer.decode(&[Tokenizer::END_OF_TEXT + 1]), None);
    }

    #[test]
    fn the_hash_is_pinned() {
        // docs/token-shards.md; computed in Python from r50k_base.tiktoken.
        let expected = "3dd825a2a73eba50f5a8fb2367548839c8395a3ee0bf848a61a64d85015db3d8";
        assert_eq!(Tokenizer::load("gpt2").unwrap().hash(), expected);
    }

    #[test]
    fn other_names_are_refused() {
        let error = Tokenizer::load("gpt5").err().unwrap().to_string();
        assert_eq!(error, "cannot load the tokenizer \"gpt5\": unknown name; the one that exists today is \"gpt2\"");
    }
}
