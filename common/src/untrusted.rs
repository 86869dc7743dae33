//! Checks on input from outside (a file, a store, a peer) before anything relies on it. This is the only place that decides
//! what may become part of a path, and how text is shown on a terminal.
//!
//! Names and hashes are checked while they are parsed, so that code that has one need not check: [`file_name`] and
//! [`Sha256Sum`]. Formats check sizes, counts and ranges in their own `parse`, as [`Manifest::parse`] does.
//!
//! [`Sha256Sum`]: crate::sha256::Sha256Sum
//! [`Manifest::parse`]: crate::checkpoint_layout::Manifest::parse

use std::borrow::Cow;
use std::fmt::Write;

use serde::{Deserialize, Deserializer, de};

/// Length of the longest name in file systems, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Error for text that is not the name of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name of a file: expected 1 to {NAME_BYTES_MAX} bytes without slashes and control characters, and no dot at the start"
)]
pub struct NotAFileName(String);

/// Checks that `name` is that of a file or object directly in a folder, and leads nowhere else when it is joined to a path.
pub fn check_file_name(name: &str) -> Result<(), NotAFileName> {
    let is_whole = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.starts_with('.');
    match is_whole && !name.contains(|c: char| c == '/' || c == '\\' || is_hidden(c)) {
        true => Ok(()),
        false => Err(NotAFileName(shortened(name).into_owned())),
    }
}

/// Deserializes the name of a file: `#[serde(deserialize_with = "untrusted::file_name")]`.
pub fn file_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    check_file_name(&name).map_err(de::Error::custom)?;
    Ok(name)
}

/// Returns whether a terminal obeys `c` instead of showing it, or reorders the text around it: control characters, and
/// bidirectional ones, by which text can look like other text.
fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns `text` as one line that is safe for a terminal: control characters, including line breaks, are escaped (`\u{1b}`).
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden)
}

/// Returns text of several lines in a form that is safe for a terminal. Keeps line breaks and tabs, and escapes other
/// control characters.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_hidden(c) && !matches!(c, '\n' | '\t'))
}

/// Returns equivalent JSON that is safe for a terminal: control characters left in its strings are escaped as in JSON
/// (`\\u007f`).
pub fn json_printable(json: &str) -> Cow<'_, str> {
    match json.contains(|c| is_hidden(c) && c != '\n') {
        false => Cow::Borrowed(json),
        // Remaining line breaks are those between values, since those within strings are escaped already. All others have
        // four digits.
        true => Cow::Owned(json.chars().fold(String::with_capacity(json.len() + 16), |mut shown, c| {
            match is_hidden(c) && c != '\n' {
                true => drop(write!(shown, "\\u{:04x}", u32::from(c))),
                false => shown.push(c),
            }
            shown
        })),
    }
}

fn escaped(text: &str, is_refused: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_refused) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_refused(c) {
            // Writing to a string cannot fail.
            true => drop(write!(shown, "{}", c.escape_default())),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Returns the start of `text`, for a message about it.
pub fn shortened(text: &str) -> Cow<'_, str> {
    const CHARACTERS: usize = 100;
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Named {
        #[serde(deserialize_with = "file_name")]
        name: String,
    }

    fn parse(name: &str) -> Result<String, serde_json::Error> {
        serde_json::from_value::<Named>(serde_json::json!({ "name": name })).map(|named| named.name)
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let leads_elsewhere = ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", ".hidden"];
        for name in leads_elsewhere.into_iter().chain(["a\0b", "a\nb", "a\u{1b}[2J", "a\u{202e}b", &"x".repeat(256)]) {
            let error = parse(name).unwrap_err().to_string();
            assert!(error.contains("is no name of a file") && error.len() < 400, "{error}");
        }
        for name in ["shard-000000.bin", "my data (1).bin", "größe.bin", "a..b", "x#1"] {
            assert_eq!(parse(name).unwrap(), name);
        }
    }

    #[test]
    fn text_from_elsewhere_cannot_command_a_terminal() {
        assert!(matches!(printable("loss 3.1 ✓"), Cow::Borrowed("loss 3.1 ✓")));
        assert_eq!(printable("a\u{1b}]0;title\u{7}\nb\r"), "a\\u{1b}]0;title\\u{7}\\nb\\r");
        assert_eq!(printable_lines("a\tb\n\u{1b}[31mred\u{9b}31m"), "a\tb\n\\u{1b}[31mred\\u{9b}31m");
        assert_eq!(printable("user\u{202e}txt"), "user\\u{202e}txt");
    }

    proptest! {
        #[test]
        fn whatever_a_name_is_it_stays_in_its_folder(name in any::<String>()) {
            if check_file_name(&name).is_ok() {
                let joined = Path::new("/folder").join(&name);
                prop_assert_eq!(joined.parent(), Some(Path::new("/folder")));
                prop_assert_eq!(joined.file_name().and_then(|n| n.to_str()), Some(name.as_str()));
            }
        }

        #[test]
        fn what_is_shown_has_no_control_characters(text in any::<String>()) {
            prop_assert!(!printable(&text).contains(is_hidden));
            let json = serde_json::to_string_pretty(&[&text]).unwrap();
            let shown = json_printable(&json);
            prop_assert!(!shown.contains(|c| is_hidden(c) && c != '\n'));
            prop_assert_eq!(serde_json::from_str::<[String; 1]>(&shown).unwrap(), [text.clone()]);
            prop_assert!(!printable_lines(&text).contains(|c: char| is_hidden(c) && c != '\n' && c != '\t'));
        }
    }
}
