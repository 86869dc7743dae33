//! Content that was unpacked, or why not.

/// Result of unpacking content.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unpacked {
    /// The content, and whether its end is missing.
    Content { content: Vec<u8>, is_cut: bool },
    /// The content was not packed.
    AsItIs,
    /// The content is larger than the limit.
    TooLong,
    /// The content is damaged.
    Damaged(String),
}
