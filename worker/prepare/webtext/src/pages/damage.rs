//! What could not be read of an object.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::page::Place;

/// A record that could not be read, or a stretch of an object in which no record could be found.
///
/// A damaged gzip member or zstd frame is one of them. It holds one record by the standard. Where it holds more, those before the
/// damage have been read, and the rest of the member is lost with the record that the damage hit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Place of the record or stretch.
    pub place: Place,
    /// Kind of the fault.
    pub fault: Fault,
    /// What is wrong.
    pub reason: String,
}

/// Kinds of faults, by which damage is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A gzip member or zstd frame is damaged or cut.
    Packing,
    /// The object or the archive's own header ends inside the record.
    Cut,
    /// Bytes between records are no record.
    NotARecord,
    /// The record's header has no end.
    Header,
    /// The record, its content, or the line is longer than its limit.
    TooLong,
    /// The content cannot be unpacked.
    Encoding,
    /// The line is not a JSON object.
    NotJson,
    /// The JSON object has no page in the field `html`.
    NoHtml,
}

impl Fault {
    /// Returns a description for people.
    pub fn in_words(self) -> &'static str {
        match self {
            Fault::Packing => "gzip members or zstd frames damaged or cut",
            Fault::Cut => "records cut short",
            Fault::NotARecord => "stretches that are no record",
            Fault::Header => "records whose header has no end",
            Fault::TooLong => "records longer than their limit",
            Fault::Encoding => "pages that cannot be unpacked",
            Fault::NotJson => "lines that are not JSON objects",
            Fault::NoHtml => "lines without a string in the field html",
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

/// What is wrong, before its place is known.
pub(super) type Wrong = (Fault, String);
