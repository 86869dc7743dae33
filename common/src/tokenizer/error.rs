//! Why a tokenizer cannot be loaded.

use crate::exit_code::ExitCode;
use crate::storage::StorageError;

/// Why a tokenizer cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The tokenizer's files cannot be read.
    #[error("cannot load the tokenizer {source_name:?}: {reason}")]
    Storage {
        /// Name of the tokenizer, as in the config.
        source_name: String,
        /// Error of the store.
        reason: StorageError,
    },
    /// The files are not those of a byte-level BPE tokenizer that Convoy can use.
    #[error(
        "cannot use the tokenizer {source_name:?}: {reason}; give \"gpt2\", or the path or URL of a tokenizer.json, or of a \
         folder with one or with vocab.json and merges.txt, of byte-level BPE as GPT-2 splits text"
    )]
    Unusable {
        /// Name of the tokenizer, as in the config, or of the file.
        source_name: String,
        /// What is wrong with the files.
        reason: String,
    },
}

impl TokenizerError {
    /// Returns the exit code of a process that ends because of this error.
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
