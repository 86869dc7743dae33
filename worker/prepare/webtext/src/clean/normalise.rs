//! Characters that are no text: line ends of other systems, control characters, a byte order mark.
//!
//! A tokenizer sees a text differently once it is normalised. So each step is a choice, changes are counted by step, and a text that
//! needs none is passed on as it is. Letters, marks, spaces and the composition of characters are never touched.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Steps of normalising.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct NormaliseOptions {
    /// CR LF and CR become LF.
    pub line_ends: bool,
    /// Control characters other than tab and line ends are removed: U+0000 to U+001F and U+007F.
    pub controls: bool,
    /// A byte order mark at the beginning is removed.
    pub byte_order_mark: bool,
}

impl NormaliseOptions {
    /// All steps.
    pub const ALL: Self = NormaliseOptions { line_ends: true, controls: true, byte_order_mark: true };
}

/// Number of changes of each step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Line ends that became LF.
    pub line_ends: usize,
    /// Control characters that were removed.
    pub controls: usize,
    /// Byte order marks that were removed: 0 or 1.
    pub byte_order_marks: usize,
}

impl Changes {
    /// Returns whether nothing was changed.
    pub fn none(&self) -> bool {
        *self == Changes::default()
    }
}

/// Normalises a text.
pub fn normalise<'t>(text: &'t str, options: &NormaliseOptions) -> (Cow<'t, str>, Changes) {
    let mut changes = Changes::default();
    let mut rest = text;
    if options.byte_order_mark
        && let Some(after) = text.strip_prefix('\u{feff}')
    {
        (rest, changes.byte_order_marks) = (after, 1);
    }
    let is_line_end = |byte: u8| options.line_ends && byte == b'\r';
    let is_control =
        |byte: u8| options.controls && (byte < 0x20 || byte == 0x7f) && !matches!(byte, b'\t' | b'\n' | b'\r');
    let Some(first) = rest.bytes().position(|byte| is_line_end(byte) || is_control(byte)) else {
        return (if changes.none() { Cow::Borrowed(text) } else { Cow::Owned(rest.to_owned()) }, changes);
    };
    let mut normal = String::with_capacity(rest.len());
    normal.push_str(&rest[..first]);
    let mut characters = rest[first..].chars().peekable();
    while let Some(c) = characters.next() {
        let byte = u8::try_from(c).unwrap_or(b' ');
        if is_line_end(byte) {
            characters.next_if_eq(&'\n');
            normal.push('\n');
            changes.line_ends += 1;
        } else if is_control(byte) {
            changes.controls += 1;
        } else {
            normal.push(c);
        }
    }
    (Cow::Owned(normal), changes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_step_changes_its_characters_and_counts_them() {
        let text = "\u{feff}a\r\nb\rc\0\u{7f}\td\n";
        let (normal, changes) = normalise(text, &NormaliseOptions::ALL);
        assert_eq!(normal, "a\nb\nc\td\n");
        assert_eq!(changes, Changes { line_ends: 2, controls: 2, byte_order_marks: 1 });
        let line_ends = NormaliseOptions { line_ends: true, ..Default::default() };
        assert_eq!(normalise(text, &line_ends).0, "\u{feff}a\nb\nc\0\u{7f}\td\n");
        let (same, changes) = normalise(text, &NormaliseOptions::default());
        assert!(matches!(same, Cow::Borrowed(_)) && changes.none());
    }

    proptest! {
        #[test]
        fn a_text_is_normal_after_once_and_what_was_changed_is_counted(text in "[a\r\n\t\0\u{7f}\u{feff}é]{0,20}") {
            let (normal, changes) = normalise(&text, &NormaliseOptions::ALL);
            prop_assert_eq!(changes.none(), normal == text.as_str());
            let removed = changes.controls + changes.byte_order_marks + text.matches("\r\n").count();
            prop_assert_eq!(normal.chars().count() + removed, text.chars().count());
            let without_marks = NormaliseOptions { byte_order_mark: false, ..NormaliseOptions::ALL };
            prop_assert!(normalise(&normal, &without_marks).1.none());
        }
    }
}
