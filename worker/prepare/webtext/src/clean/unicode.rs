//! General categories of characters, from the tables of `regex-syntax`.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

/// Characters of a general category.
pub(crate) struct Category {
    ascii: u128,
    ranges: Vec<(char, char)>,
}

impl Category {
    fn new(class: &str) -> Self {
        let ranges = match regex_syntax::parse(class).map(regex_syntax::hir::Hir::into_kind) {
            Ok(HirKind::Class(Class::Unicode(class))) => {
                class.iter().map(|range| (range.start(), range.end())).collect()
            }
            // A test looks at each class that is used.
            _ => Vec::new(),
        };
        let mut category = Category { ascii: 0, ranges };
        for code in 0..128_u8 {
            category.ascii |= u128::from(category.find(char::from(code))) << code;
        }
        category
    }

    /// Returns whether a character is of the category.
    pub(crate) fn contains(&self, c: char) -> bool {
        if c.is_ascii() { self.ascii >> (c as u32) & 1 == 1 } else { self.find(c) }
    }

    fn find(&self, c: char) -> bool {
        let after = self.ranges.partition_point(|range| range.0 <= c);
        after.checked_sub(1).is_some_and(|at| c <= self.ranges[at].1)
    }
}

/// Letters, Python's `str.isalpha`.
pub(crate) static LETTER: LazyLock<Category> = LazyLock::new(|| Category::new(r"\p{L}"));
/// Letters of the Latin script.
pub(crate) static LATIN: LazyLock<Category> = LazyLock::new(|| Category::new(r"\p{Latin}"));
/// Decimal digits, Python's `\d`.
pub(crate) static DIGIT: LazyLock<Category> = LazyLock::new(|| Category::new(r"\p{Nd}"));
/// Punctuation.
pub(crate) static PUNCTUATION: LazyLock<Category> = LazyLock::new(|| Category::new(r"\p{P}"));
/// Symbols that are neither mathematical, nor currencies, nor modifiers.
pub(crate) static OTHER_SYMBOL: LazyLock<Category> = LazyLock::new(|| Category::new(r"\p{So}"));

/// Marks that take no room of their own, such as accents.
pub(crate) static NONSPACING_MARK: LazyLock<Category> = LazyLock::new(|| Category::new(r"\p{Mn}"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_have_their_characters() {
        for (category, with, without) in [
            (&*LETTER, "aZéЖ本ªʰ", "1 -Ⅷ①🙂"),
            (&*LATIN, "aZéª", "1Жα本"),
            (&*DIGIT, "09٣१", "aⅧ²"),
            (&*PUNCTUATION, "!_-—。«", "$+a "),
            (&*OTHER_SYMBOL, "©°🙂", "$+a→="),
            (&*NONSPACING_MARK, "\u{301}\u{64f}\u{fe0f}", "a´\u{903}"),
        ] {
            assert!(with.chars().all(|c| category.contains(c)), "{with}");
            assert!(!without.chars().any(|c| category.contains(c)), "{without}");
        }
    }
}
