//! What is wrong with a document that cannot be read, and where it is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A document that cannot be read, or what is left of an object from there on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadDocument {
    /// The number of its source.
    pub source: u32,
    /// Its position, see [`crate::inputs`].
    pub position: u64,
    /// The object.
    pub url: String,
    /// Where in the object.
    pub place: Place,
    /// Which kind of fault.
    pub fault: Fault,
    /// What is wrong.
    pub reason: String,
}

/// Where a document is, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The object is the document, or from some point on nothing of it can be read.
    Object,
    /// A line, counted from 1.
    Line(u64),
    /// A line that begins so many bytes into the object, where nobody has counted the lines before.
    Byte(u64),
    /// A row, counted from 1.
    Row(u64),
}

/// Kinds of faults, by which documents that are left out are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// An object that is gone, denied, truncated or damaged: the rest of it counts as one.
    UnreadableObject,
    /// Text in another encoding than UTF-8.
    NotUtf8,
    /// A line that is not a JSON object.
    NotJson,
    /// A JSON object, row or file without the field or column of the text.
    NoText,
    /// More bytes than `prepare.max_document_bytes`.
    TooLong,
}

impl Fault {
    /// For people.
    pub fn in_words(self) -> &'static str {
        match self {
            Fault::UnreadableObject => "objects unreadable, or unreadable from some point on",
            Fault::NotUtf8 => "not UTF-8",
            Fault::NotJson => "lines that are not JSON objects",
            Fault::NoText => "without a string in the field of the text",
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
