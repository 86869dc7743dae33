//! Limits of the sequences that a model is given.

use crate::tokens::EncodeError;

/// What is done with a continuation that does not fit into a model's context together with its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLong {
    /// The task is not evaluated: an error names the item.
    Refuse,
    /// The beginning of the context is left out, and the item is listed.
    #[default]
    Truncate,
    /// The item is left out of the results, and listed.
    Skip,
}

/// Limits of the sequences that a model is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Tokens that the model takes at most.
    pub context_tokens: usize,
    /// Tokens that a window over a text feeds the model at most, up to `context_tokens`.
    pub window_tokens: usize,
    /// Tokens that each window over a text but the first predicts at most, up to `window_tokens`.
    pub stride_tokens: usize,
    /// What is done with continuations that do not fit.
    pub on_long: OnLong,
}

impl Limits {
    /// Returns the limits of a model, with windows that do not overlap.
    pub fn of_model(context_tokens: usize, on_long: OnLong) -> Self {
        Limits { context_tokens, window_tokens: context_tokens, stride_tokens: context_tokens, on_long }
    }

    pub(super) fn check(&self) -> Result<(), EncodeError> {
        let Limits { context_tokens, window_tokens, stride_tokens, .. } = *self;
        let fits = 1 <= stride_tokens && stride_tokens <= window_tokens && window_tokens <= context_tokens;
        if fits { Ok(()) } else { Err(EncodeError::Windows { context_tokens, window_tokens, stride_tokens }) }
    }
}
