//! Byte-level BPE: text to token ids and back.
//!
//! The only vocabulary today is OpenAI's GPT-2 (50,256 merged tokens and end-of-text), which comes with the
//! `tiktoken-rs` crate, so nothing is fetched at run time.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tiktoken_rs::CoreBPE;

/// A byte-level BPE vocabulary. Cheap to clone.
#[derive(Clone)]
pub struct Tokenizer {
    bpe: Arc<CoreBPE>,
    hash: String,
}

/// The vocabulary cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot load the tokenizer {name:?}: {reason}; the one that exists today is \"gpt2\"")]
pub struct TokenizerError {
    name: String,
    reason: String,
}

/// The pattern that splits text before merging, as GPT-2 has it; merges never cross its pieces.
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
        let hash = hash(&bpe).map_err(refuse)?;
        Ok(Tokenizer { bpe: Arc::new(bpe), hash })
    }

    /// Number of tokens in the vocabulary, end-of-text included.
    pub fn vocabulary(&self) -> u32 {
        u32::from(Self::END_OF_TEXT) + 1
    }

    /// SHA-256 over the vocabulary, in hex: equal for equal tokenizers, whatever files they came from.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The ids of `text`, in which `<|endoftext|>` is ordinary text.
    pub fn encode(&self, text: &str) -> Vec<u16> {
        self.bpe.encode_ordinary_as::<usize>(text).into_iter().map(|id| id as u16).collect()
    }

    /// The bytes of `ids`, which may end in the middle of a character; `None` if one is not in the vocabulary.
    pub fn decode(&self, ids: &[u16]) -> Option<Vec<u8>> {
        let ids: Vec<u32> = ids.iter().map(|id| u32::from(*id)).collect();
        self.bpe.decode_bytes(&ids).ok()
    }
}

/// SHA-256 over (u32 little-endian length, bytes) of each token in id order, then the special tokens, then the split
/// pattern.
fn hash(bpe: &CoreBPE) -> Result<String, String> {
    let mut hasher = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hasher.update((bytes.len() as u32).to_le_bytes());
        hasher.update(bytes);
    };
    for id in 0..u32::from(Tokenizer::END_OF_TEXT) {
        add(&bpe.decode_bytes(&[id]).map_err(|e| e.to_string())?);
    }
    add(b"<|endoftext|>");
    add(GPT2_SPLIT.as_bytes());
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
