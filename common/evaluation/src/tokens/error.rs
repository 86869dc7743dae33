//! Why items cannot be made into sequences.

/// Largest number of tokens of the windows over one text, which are in memory on every rank: a gibibyte.
pub const WINDOWS_TOKENS_MAX: usize = 1 << 29;

/// Why items cannot be made into sequences.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A continuation has no tokens.
    #[error("item {item}: the continuation {continuation:?} has no tokens of its own, so there is nothing to score")]
    EmptyContinuation {
        /// Id of the item.
        item: String,
        /// Its text, shortened.
        continuation: String,
    },
    /// An item does not fit, and it was said to refuse such.
    #[error(
        "item {item} has {tokens} tokens, but the model takes {context_tokens}; --on-long truncate leaves out the beginning \
         of its context, --on-long skip leaves out the item"
    )]
    Long {
        /// Id of the item.
        item: String,
        /// Tokens to feed.
        tokens: usize,
        /// Tokens that the model takes.
        context_tokens: usize,
    },
    /// The scored tokens of an item do not fit.
    #[error(
        "item {item}: {scored} tokens are to be scored, but the model takes {context_tokens}; --on-long skip leaves out the item"
    )]
    LongContinuation {
        /// Id of the item.
        item: String,
        /// Scored tokens.
        scored: usize,
        /// Tokens that the model takes.
        context_tokens: usize,
    },
    /// The window or the stride is out of range.
    #[error(
        "a window of {window_tokens} tokens with a stride of {stride_tokens}: expected \
         1 <= stride <= window <= {context_tokens}, the model's context"
    )]
    Windows {
        /// Tokens that the model takes.
        context_tokens: usize,
        /// Tokens of a window.
        window_tokens: usize,
        /// Tokens predicted by a window.
        stride_tokens: usize,
    },
    /// A stride is so small that the windows over a text would take too much memory.
    #[error(
        "item {item}: windows over its {tokens} tokens with a stride of {stride_tokens} feed the model {fed} tokens, at most \
         {WINDOWS_TOKENS_MAX} are taken; give a larger --stride or a shorter text"
    )]
    ManyWindows {
        /// Id of the item.
        item: String,
        /// Tokens of the text.
        tokens: usize,
        /// Tokens predicted by a window.
        stride_tokens: usize,
        /// Tokens of all windows.
        fed: usize,
    },
    /// There are more items, requests or windows than can be numbered.
    #[error("item {item}: a task has at most 2^32 items, requests of an item, and windows of a request")]
    TooMany {
        /// Id of the item.
        item: String,
    },
}
