//! Words and sentences of a text.

/// Splits texts into words and sentences. What the rules measure depends on it, so a comparison with another system brings that
/// system's.
pub trait Split: Send + Sync {
    /// Appends the words of `text`, in order and without white space, to `words`.
    fn words<'t>(&self, text: &'t str, words: &mut Vec<&'t str>);

    /// Returns the number of sentences of a line: at least 1.
    fn sentences(&self, line: &str) -> usize;
}
