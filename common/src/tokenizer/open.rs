//! Opens the tokenizer that a config names, or GPT-2's own.

use std::sync::OnceLock;

use super::bpe::Tokenizer;
use super::error::{TokenizerError, unusable};
use super::{files, gpt2};
use crate::config::StorageConfig;
use crate::secrets::without_secrets;

impl Tokenizer {
    /// Opens the tokenizer `source`: `gpt2`, or the path or URL of files that [`files::read`] understands.
    pub fn open(source: &str, storage: &StorageConfig) -> Result<Self, TokenizerError> {
        if source == "gpt2" { Self::gpt2() } else { Self::new(&without_secrets(source), files::read(source, storage)?) }
    }

    /// Returns GPT-2's tokenizer, which is made once per process, since each data set asks for it.
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
