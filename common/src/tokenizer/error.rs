//! Why a tokenizer cannot be had.

use crate::exit_code::ExitCode;
use crate::storage::StorageError;

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

pub(super) fn unusable(name: &str, reason: String) -> TokenizerError {
    TokenizerError::Unusable { source_name: name.to_owned(), reason }
}
