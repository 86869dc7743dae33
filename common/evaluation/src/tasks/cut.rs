//! How texts are cut into what a model reads at once, which every metric's name says.

use crate::tokens::Limits;

/// How the texts of a task are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// All of it is one text, which follows one end-of-text.
    Whole,
    /// Each document is a text by itself, and follows an end-of-text.
    Documents,
}

impl Cut {
    /// Returns what a metric's name says of it, such as `whole/window=1024/stride=1024`.
    pub fn in_name(self, limits: &Limits) -> String {
        let texts = match self {
            Cut::Whole => "whole",
            Cut::Documents => "documents",
        };
        format!("{texts}/window={}/stride={}", limits.window_tokens, limits.stride_tokens)
    }
}
