//! Where tokenizers come from: what a config names, and GPT-2's own.

use std::sync::OnceLock;

use super::bpe::Tokenizer;
use super::error::{TokenizerError, unusable};
use super::{files, gpt2};
use crate::config::StorageConfig;
use crate::secrets::without_secrets;

impl Tokenizer {
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
}
