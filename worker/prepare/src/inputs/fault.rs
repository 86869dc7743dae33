//! Describes a document that cannot be read: its fault, and its place.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A document that cannot be read, or the unreadable rest of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadDocument {
    /// Number of the source.
    pub source: u32,
    /// Position of the document, see [`crate::inputs`].
    pub position: u64,
    /// URL of the object.
    pub url: String,
    /// Place in the object, for people.
    pub place: Place,
    /// Kind of the fault.
    pub fault: Fault,
    /// What is wrong.
    pub reason: String,
}

/// Place of a document in its object, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The object as a whole: it is the document, or from some point on nothing of it can be read.
    Object,
    /// A line, counted from 1.
    Line(u64),
    /// A line that begins at this byte of the object, where the lines before have not been counted.
    Byte(u64),
    /// A row, counted from 1.
    Row(u64),
}

/// Kinds of faults, by which skipped documents are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The object is gone, denied, truncated or damaged. The rest of it counts as one document.
    UnreadableObject,
    /// The text is in another encoding than UTF-8.
    NotUtf8,
    /// The line is not a JSON object.
    NotJson,
    /// The JSON object, row or file has no field or column of the text.
    NoText,
    /// The document has more bytes than `prepare.max_document_bytes`.
    TooLong,
}

impl Fault {
    /// Returns a description for people.
    pub fn in_words(self) -> &'static str {
        match self {
            Fault::UnreadableObject => "in objects that cannot be read, or not to their end",
            Fault::NotUtf8 => "not UTF-8",
            Fault::NotJson => "not a JSON object",
            Fault::NoText => "no string in the field of the text",
            Fault::TooLong => "longer than prepare.max_document_bytes",
        }
    }
}

impl fmt::Display for BadDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Object => write!(f, "{}: {}", self.url, self.reason),
            Place::Line(line) => write!(f, "{}, line {line}: {}", self.url, self.reason),
            Place::Byte(byte) => write!(f, "{}, the line at byte {byte}: {}", self.url, self.reason),
            Place::Row(row) => write!(f, "{}, row {row}: {}", self.url, self.reason),
        }
    }
}
