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
//! - `vocabulary`: what a tokenizer is made of.
//! - `gpt2`: GPT-2's vocabulary.
//! - [`files`]: vocabularies from and to files.
//! - [`train`]: texts to a vocabulary.
//! - `decode`: ids to text as they come.

mod decode;
pub mod files;
mod gpt2;
mod heap;
mod linear;
mod merge;
mod pair_table;
mod split;
pub mod train;
mod trie;
mod vocabulary;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sha2::{Digest, Sha256};

use crate::config::StorageConfig;
use crate::storage::{StorageError, without_secrets};
use crate::worker_contract::ExitCode;
pub use decode::DecodeStream;
use merge::{Cache, Merges, PIECES_AT_ONCE};
pub use vocabulary::{Merge, Vocabulary};

/// A byte-level BPE tokenizer. Cheap to clone, and to be shared between threads.
#[derive(Clone)]
pub struct Tokenizer {
    shared: Arc<Shared>,
}

struct Shared {
    vocabulary: Vocabulary,
    merges: Merges,
    end_of_text: u16,
    hash: String,
    /// What a new one is a copy of.
    first_cache: Cache,
    /// Those that no thread uses now. A thread takes one, or copies one, and gives it back: there are as many as
    /// threads encode at once, of 2 MiB each.
    caches: Mutex<Vec<Cache>>,
}

/// The tokenizer cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// Its files cannot be read.
    #[error("cannot load the tokenizer {source_name:?}: {reason}")]
    Storage {
        /// As in the config.
        source_name: String,
        /// Why.
        reason: StorageError,
    },
    /// Its files are not those of a byte-level BPE tokenizer that Convoy can use.
    #[error(
        "cannot use the tokenizer {source_name:?}: {reason}; give \"gpt2\", or the path or URL of a tokenizer.json, or of a \
         folder with one or with vocab.json and merges.txt, of byte-level BPE as GPT-2 splits text"
    )]
    Unusable {
        /// As in the config, or the file.
        source_name: String,
        /// What is wrong.
        reason: String,
    },
}

impl TokenizerError {
    /// What a process that ends because of this exits with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            TokenizerError::Storage { reason, .. } => reason.exit_code(),
            TokenizerError::Unusable { .. } => ExitCode::Config,
        }
    }
}

/// The text of the special token before each document.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// The pattern that splits text before merging, as OpenAI published it with GPT-2; it goes into the hash.
const GPT2_SPLIT: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Ids fit u16, as token shards have them.
pub const MOST_TOKENS: usize = 1 << 16;

impl Tokenizer {
    /// GPT-2's id of [`END_OF_TEXT`].
    pub const GPT2_END_OF_TEXT: u16 = 50_256;

    /// The tokenizer `source`: `gpt2`, or the path or URL of files that [`files::read`] understands.
    pub fn open(source: &str, storage: &StorageConfig) -> Result<Self, TokenizerError> {
        if source == "gpt2" { Self::gpt2() } else { Self::new(&without_secrets(source), files::read(source, storage)?) }
    }

    /// GPT-2's, which is made once in a process, since each data set asks for it.
    pub fn gpt2() -> Result<Self, TokenizerError> {
        static MADE: OnceLock<Tokenizer> = OnceLock::new();
        if let Some(tokenizer) = MADE.get() {
            return Ok(tokenizer.clone());
        }
        let vocabulary = gpt2::vocabulary().map_err(|reason| unusable("gpt2", reason))?;
        let tokenizer = Self::new("gpt2", vocabulary)?;
        Ok(MADE.get_or_init(|| tokenizer).clone())
    }

    /// The tokenizer of `vocabulary`; `name` is for errors.
    pub fn new(name: &str, vocabulary: Vocabulary) -> Result<Self, TokenizerError> {
        vocabulary.check().map_err(|reason| unusable(name, reason))?;
        let merges = Merges::new(&vocabulary).map_err(|reason| unusable(name, reason))?;
        let mut special = vocabulary.special.iter().copied();
        let end_of_text = special.find(|id| vocabulary.tokens[usize::from(*id)] == END_OF_TEXT.as_bytes());
        let end_of_text =
            end_of_text.ok_or_else(|| unusable(name, format!("it has no special token {END_OF_TEXT}")))?;
        let hash = hash(&vocabulary.tokens);
        let first_cache = Cache::new(&merges, &vocabulary);
        let caches = Mutex::default();
        Ok(Tokenizer { shared: Arc::new(Shared { vocabulary, merges, end_of_text, hash, first_cache, caches }) })
    }

    /// What it is made of.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.shared.vocabulary
    }

    /// Number of tokens in the vocabulary, special ones included.
    pub fn size(&self) -> u32 {
        self.shared.vocabulary.tokens.len() as u32
    }

    /// The id of [`END_OF_TEXT`], the token before each document.
    pub fn end_of_text(&self) -> u16 {
        self.shared.end_of_text
    }

    /// SHA-256 over the vocabulary, in hex: equal for equal tokenizers, whatever files they came from.
    pub fn hash(&self) -> &str {
        &self.shared.hash
    }

    /// The ids of `text`, in which special tokens such as `<|endoftext|>` are ordinary text.
    pub fn encode(&self, text: &str) -> Vec<u16> {
        let mut ids = Vec::new();
        self.encode_into(text, &mut ids);
        ids
    }

    /// Appends the ids of `text`, as [`Tokenizer::encode`] has them.
    pub fn encode_into(&self, text: &str, ids: &mut Vec<u16>) {
        let mut cache = self.caches().pop().unwrap_or_else(|| self.shared.first_cache.clone());
        // Bytes per token of English are more than 4; what is too much here is soon used by the next text.
        ids.reserve(text.len() / 4);
        let mut pieces = split::pieces(text);
        let mut borders = [0; PIECES_AT_ONCE + 1];
        while borders[0] < text.len() {
            let mut count = 0;
            for piece in pieces.by_ref().take(PIECES_AT_ONCE) {
                borders[count + 1] = borders[count] + piece.len();
                count += 1;
            }
            cache.encode(&self.shared.merges, text.as_bytes(), &borders[..=count], ids);
            borders[0] = borders[count];
        }
        self.caches().push(cache);
    }

    /// The ids of `text`, in which the text of a special token is that token; the first one counts, and of several
    /// at one place the longest.
    pub fn encode_with_special(&self, text: &str) -> Vec<u16> {
        let mut ids = Vec::new();
        let mut start = 0;
        // The next place of each special token that is still to come, so that each is looked for once along the text.
        let special = self.shared.vocabulary.special.iter();
        let special = special.filter_map(|id| Some((*id, std::str::from_utf8(self.token(*id)?).ok()?)));
        let mut coming: Vec<_> =
            special.filter_map(|(id, token)| Some(Coming { at: text.find(token)?, token, id })).collect();
        while let Some(next) = coming.iter().min_by_key(|next| (next.at, usize::MAX - next.token.len())).copied() {
            self.encode_into(&text[start..next.at], &mut ids);
            ids.push(next.id);
            start = next.at + next.token.len();
            coming.retain_mut(|coming| coming.is_after(start, text));
        }
        self.encode_into(&text[start..], &mut ids);
        ids
    }

    /// The bytes of `ids`, which may end in the middle of a character; `None` if one is not in the vocabulary.
    pub fn decode(&self, ids: &[u16]) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for id in ids {
            bytes.extend_from_slice(self.token(*id)?);
        }
        Some(bytes)
    }

    /// The bytes of one token.
    pub fn token(&self, id: u16) -> Option<&[u8]> {
        self.shared.vocabulary.tokens.get(usize::from(id)).map(Vec::as_slice)
    }

    fn caches(&self) -> std::sync::MutexGuard<'_, Vec<Cache>> {
        self.shared.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where in a text a special token is next.
#[derive(Clone, Copy)]
struct Coming<'t> {
    at: usize,
    token: &'t str,
    id: u16,
}

impl Coming<'_> {
    /// Moves to the first place at or after `start`; `false` if there is none.
    fn is_after(&mut self, start: usize, text: &str) -> bool {
        if self.at < start {
            match text[start..].find(self.token) {
                Some(at) => self.at = start + at,
                None => return false,
            }
        }
        true
    }
}

/// The pieces of `text` that merges never cross, in order: GPT-2's split.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    split::pieces(text)
}

fn unusable(name: &str, reason: String) -> TokenizerError {
    TokenizerError::Unusable { source_name: name.to_owned(), reason }
}

/// SHA-256 over (u32 little-endian length, bytes) of each token in id order, special ones included, then of the split
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
    fn end_of_text_is_never_an_id_of_text_unless_asked_for() {
        let tokenizer = Tokenizer::gpt2().unwrap();
        let text = "a<|endoftext|>b<|endoftext|>";
        let ids = tokenizer.encode(text);
        assert!(!ids.contains(&tokenizer.end_of_text()), "{ids:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), text.as_bytes());
        assert_eq!(tokenizer.encode_with_special(text), [64, 50_256, 65, 50_256]);
        assert_eq!(tokenizer.encode_with_special("<|endoftext"), tokenizer.encode("<|endoftext"));
        assert_eq!(tokenizer.decode(&[50_256]).unwrap(), END_OF_TEXT.as_bytes());
        assert_eq!(tokenizer.decode(&[50_257]), None);
    }

    #[test]
    fn of_several_special_tokens_the_first_counts_and_of_those_the_longest() {
        let mut vocabulary = Tokenizer::gpt2().unwrap().vocabulary().clone();
        for token in ["<a>", "<a><a>", "<b"] {
            vocabulary.special.push(vocabulary.tokens.len() as u16);
            vocabulary.tokens.push(token.into());
        }
        let tokenizer = Tokenizer::new("special", vocabulary).unwrap();
        let ids = tokenizer.encode_with_special("<b<a><a><a>a<|endoftext|><a");
        assert_eq!(ids, [&[50_259, 50_258, 50_257, 64, 50_256][..], &tokenizer.encode("<a")].concat());
    }

    #[test]
    fn the_hash_is_pinned() {
        // docs/token-shards.md; computed in Python from r50k_base.tiktoken.
        let expected = "3dd825a2a73eba50f5a8fb2367548839c8395a3ee0bf848a61a64d85015db3d8";
        assert_eq!(Tokenizer::gpt2().unwrap().hash(), expected);
    }

    #[test]
    fn threads_share_it() {
        let tokenizer = Tokenizer::gpt2().unwrap();
        let texts: Vec<String> = (0..64).map(|n| format!("thread {n} says {}", "word ".repeat(n))).collect();
        let expected: Vec<_> = texts.iter().map(|text| tokenizer.encode(text)).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for (text, expected) in texts.iter().zip(&expected) {
                        assert_eq!(tokenizer.encode(text), *expected);
                    }
                });
            }
        });
        assert!(tokenizer.caches().len() <= 4);
    }
}
