//! A Winograd schema, as both files of the collection have it.

use serde::Deserialize;

/// A sentence with a pronoun.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Schema {
    /// The sentence.
    pub text: String,
    /// The pronoun.
    pub pronoun: String,
    /// Where it is in the sentence, in characters.
    pub pronoun_loc: usize,
    /// What it may stand for.
    pub options: [String; 2],
    /// Index of the right option.
    pub label: usize,
}
