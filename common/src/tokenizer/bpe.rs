//! The tokenizer itself: encodes text to ids, decodes ids to bytes, and hashes its vocabulary.

use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::added::{Added, Part};
use super::error::{TokenizerError, unusable};
use super::gpt2;
use super::merge::{Cache, Merges, PIECES_AT_ONCE};
use super::split::{self, GPT2_SPLIT};
use super::vocabulary::{AddedToken, END_OF_TEXT, Vocabulary};

/// A byte-level BPE tokenizer. Cheap to clone and to share between threads.
#[derive(Clone)]
pub struct Tokenizer {
    shared: Arc<Shared>,
}

struct Shared {
    vocabulary: Vocabulary,
    merges: Merges,
    added: Added,
    end_of_text: u16,
    hash: String,
    /// Cache that new ones are copied from.
    first_cache: Cache,
    /// Caches that no thread uses now. A thread takes or copies one, and returns it afterwards. There are as many as threads
    /// that encode at once, each of 2 MiB.
    caches: Mutex<Vec<Cache>>,
}

impl Tokenizer {
    /// Id of [`END_OF_TEXT`] in GPT-2's vocabulary.
    pub const GPT2_END_OF_TEXT: u16 = gpt2::END_OF_TEXT_ID;

    /// Returns the tokenizer of `vocabulary`. `name` is for errors.
    pub fn new(name: &str, vocabulary: Vocabulary) -> Result<Self, TokenizerError> {
        vocabulary.check().map_err(|reason| unusable(name, reason))?;
        let merges = Merges::new(&vocabulary).map_err(|reason| unusable(name, reason))?;
        let added = Added::new(&vocabulary).map_err(|reason| unusable(name, reason))?;
        let end_of_text = vocabulary.special().find(|id| vocabulary.tokens[usize::from(*id)] == END_OF_TEXT.as_bytes());
        let end_of_text =
            end_of_text.ok_or_else(|| unusable(name, format!("it has no special token {END_OF_TEXT}")))?;
        let hash = hash(&vocabulary);
        let first_cache = Cache::new(&merges, &vocabulary);
        let caches = Mutex::default();
        let shared = Shared { vocabulary, merges, added, end_of_text, hash, first_cache, caches };
        Ok(Tokenizer { shared: Arc::new(shared) })
    }

    /// Returns the vocabulary.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.shared.vocabulary
    }

    /// Returns the number of tokens in the vocabulary, including special ones.
    pub fn size(&self) -> u32 {
        self.shared.vocabulary.tokens.len() as u32
    }

    /// Returns the id of [`END_OF_TEXT`], the token before each document.
    pub fn end_of_text(&self) -> u16 {
        self.shared.end_of_text
    }

    /// Returns the SHA-256 of the vocabulary, in hexadecimal. Equal tokenizers have equal hashes, regardless of the files
    /// they came from.
    pub fn hash(&self) -> &str {
        &self.shared.hash
    }

    /// Encodes `text` as a document, in which special tokens such as `<|endoftext|>` are ordinary text.
    pub fn encode(&self, text: &str) -> Vec<u16> {
        let mut ids = Vec::new();
        self.encode_into(text, &mut ids);
        ids
    }

    /// Appends the ids of `text`, encoded as by [`Tokenizer::encode`].
    pub fn encode_into(&self, text: &str, ids: &mut Vec<u16>) {
        self.encode_parts(text, false, ids);
    }

    /// Encodes `text`, in which the text of a special token is that token. The first match counts, and at one place the longest.
    pub fn encode_with_special(&self, text: &str) -> Vec<u16> {
        let mut ids = Vec::new();
        self.encode_parts(text, true, &mut ids);
        ids
    }

    fn encode_parts(&self, text: &str, with_special: bool, ids: &mut Vec<u16>) {
        let mut cache = self.caches().pop().unwrap_or_else(|| self.shared.first_cache.clone());
        // English has more than 4 bytes per token. Excess room is soon used by the next text.
        ids.reserve(text.len() / 4);
        self.shared.added.split(text, with_special, |part| match part {
            Part::Text(text) => self.encode_ordinary(text, &mut cache, ids),
            Part::Token(id) => ids.push(id),
        });
        self.caches().push(cache);
    }

    /// Appends the ids of a text without added tokens.
    fn encode_ordinary(&self, text: &str, cache: &mut Cache, ids: &mut Vec<u16>) {
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
    }

    /// Decodes `ids` to bytes, which may end in the middle of a character. Returns `None` if an id is not in the vocabulary.
    pub fn decode(&self, ids: &[u16]) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for id in ids {
            bytes.extend_from_slice(self.token(*id)?);
        }
        Some(bytes)
    }

    /// Returns the bytes of one token.
    pub fn token(&self, id: u16) -> Option<&[u8]> {
        self.shared.vocabulary.tokens.get(usize::from(id)).map(Vec::as_slice)
    }

    fn caches(&self) -> std::sync::MutexGuard<'_, Vec<Cache>> {
        self.shared.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hashes (u32 little-endian length, bytes) of each token in id order, including added ones, then the split pattern. If
/// documents can contain added tokens, also hashes the id and properties of each.
fn hash(vocabulary: &Vocabulary) -> String {
    let mut hasher = Sha256::new();
    for bytes in vocabulary.tokens.iter().map(Vec::as_slice).chain([GPT2_SPLIT.as_bytes()]) {
        hasher.update((bytes.len() as u32).to_le_bytes());
        hasher.update(bytes);
    }
    if vocabulary.added.iter().any(|token| !token.special) {
        for AddedToken { id, special, single_word, normalized } in &vocabulary.added {
            hasher.update(u32::from(*id).to_le_bytes());
            hasher.update([u8::from(*special) | u8::from(*single_word) << 1 | u8::from(*normalized) << 2]);
        }
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
            vocabulary.added.push(AddedToken::special(vocabulary.tokens.len() as u16));
            vocabulary.tokens.push(token.into());
        }
        let tokenizer = Tokenizer::new("special", vocabulary).unwrap();
        let ids = tokenizer.encode_with_special("<b<a><a><a>a<|endoftext|><a");
        assert_eq!(ids, [&[50_259, 50_258, 50_257, 64, 50_256][..], &tokenizer.encode("<a")].concat());
    }

    #[test]
    fn the_hash_is_pinned() {
        // Expected value as in docs/token-shards.md, computed in Python from r50k_base.tiktoken.
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
