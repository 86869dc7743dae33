//! What `prepare survey` finds in texts, for `launcher init`.

use serde::{Deserialize, Serialize};

/// Estimate of texts that have not been prepared yet, from samples of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextSurvey {
    /// Inputs for `prepare.inputs` that stand for the texts.
    pub inputs: Vec<String>,
    /// Number of objects.
    pub objects: u64,
    /// Number of documents.
    pub documents: u64,
    /// Bytes of their text in UTF-8.
    pub text_bytes: u64,
    /// Bytes of the longest document.
    pub longest_document_bytes: u64,
    /// Number of tokens, with the end-of-text before each document.
    pub tokens: u64,
    /// Number of ids of the tokenizer.
    pub vocabulary: u32,
}
