//! The longest overlaps, which are shown.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

/// Number of overlaps that are shown, the longest. Of a document, one is.
pub const LONGEST_MAX: usize = 10;
/// Longest text of an overlap that is shown, in bytes.
pub const TEXT_BYTES_MAX: usize = 400;

/// Longest overlap of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongOverlap {
    /// Number of words.
    pub words: u64,
    /// Name of the evaluation set.
    pub task: String,
    /// Id of the item in it.
    pub item: String,
    /// Id of the document, 32 hex digits.
    pub document: String,
    /// Address of the document.
    pub url: Option<String>,
    /// The words as the document has them, or their beginning.
    pub text: String,
}

/// Adds overlaps to the `longest`, and leaves the longest of all, the longest first. Which ones does not depend on their order.
pub fn keep_longest(longest: &mut Vec<LongOverlap>, more: impl IntoIterator<Item = LongOverlap>) {
    longest.extend(more);
    longest.sort_by(|one, other| (Reverse(one.words), &one.document).cmp(&(Reverse(other.words), &other.document)));
    longest.truncate(LONGEST_MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_overlaps_stay_in_whatever_order_they_come() {
        let overlap = |number: u64| LongOverlap {
            words: 8 + number / 3,
            task: "ptb".into(),
            item: number.to_string(),
            document: format!("{:032x}", number * 7 % 40),
            url: None,
            text: String::new(),
        };
        let (mut one, mut other) = (Vec::new(), Vec::new());
        (0..40).for_each(|number| keep_longest(&mut one, [overlap(number)]));
        keep_longest(&mut other, (0..40).rev().map(overlap));
        assert_eq!(one, other);
        let words: Vec<u64> = one.iter().map(|overlap| overlap.words).collect();
        assert_eq!(words, [21, 20, 20, 20, 19, 19, 19, 18, 18, 18]);
    }
}
