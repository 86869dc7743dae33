//! Text for people in messages between processes: cut where it is sent, made printable where it is received.
//!
//! A peer chooses the content of such text. Cutting makes a message fit into a line that its reader accepts. Making it
//! printable prevents it from commanding a terminal, or forging a line of a log or journal. The modules [`mod@line`],
//! [`lines`] and [`optional_line`] are for `#[serde(with = "...")]`, so that no sender and no reader can forget.

use std::borrow::Cow;

/// Size of the longest text that is sent, in bytes. JSON needs at most six bytes for each.
pub const TEXT_BYTES_MAX: usize = 8 << 10;

/// Returns `text`. If it is longer than [`TEXT_BYTES_MAX`], cuts its end off and adds a note that it was cut.
pub fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= TEXT_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    let note = format!(" ... (cut off: {} bytes in all)", text.len());
    let end = text.floor_char_boundary(TEXT_BYTES_MAX - note.len());
    Cow::Owned(format!("{}{note}", &text[..end]))
}

/// Text of one line.
pub mod line {
    use super::cut;
    use crate::untrusted::printable;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Serializes `text`, cut.
    pub fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&cut(text))
    }

    /// Deserializes text, and makes it printable.
    pub fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<String, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(printable(&text).into_owned())
    }
}

/// Text of one or more lines.
pub mod lines {
    use crate::untrusted::printable_lines;
    use serde::{Deserialize, Deserializer};

    pub use super::line::serialize;

    /// Deserializes text, and makes it printable.
    pub fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<String, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(printable_lines(&text).into_owned())
    }
}

/// Text of one line that may be absent.
pub mod optional_line {
    use super::cut;
    use crate::untrusted::printable;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Serializes `text`, cut.
    pub fn serialize<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
        text.as_deref().map(cut).serialize(serializer)
    }

    /// Deserializes text, and makes it printable.
    pub fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Option<String>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(text.map(|text| printable(&text).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_is_cut_between_characters_and_says_so() {
        let longest = "x".repeat(TEXT_BYTES_MAX);
        assert_eq!(cut(&longest), longest);
        let long = "µ".repeat(TEXT_BYTES_MAX);
        let short = cut(&long);
        assert!(short.len() <= TEXT_BYTES_MAX && short.starts_with("µµ"), "{} bytes", short.len());
        assert!(short.ends_with("µ ... (cut off: 16384 bytes in all)"), "{short}");
    }
}
