//! What the config names becomes objects, and objects become raw documents.
//!
//! - [`find`]: inputs to [`Source`]s, the objects in them. The object's name says how documents lie in it: `.txt` is one
//!   document, `.jsonl` one a line, `.parquet` one a row; the first two also as `.gz`, `.zst`, `.xz` and `.bz2`.
//! - [`units`]: sources to [`Unit`]s of similar size, the pieces of work that ranks share.
//! - [`batches`]: a unit to [`Batch`]es of documents, always the same ones.
//! - [`documents`], [`lines`], [`rows`]: an object, or a part of it, to documents, in bounded memory.
//!
//! A document's position (the byte in the unpacked object where its line begins, its row, or 0) tells it from every other
//! of its source. It depends on nothing but the object.

pub mod batches;
mod documents;
mod find;
mod lines;
mod rows;
mod units;

use std::fmt;

use common::storage::Folder;
use serde::{Deserialize, Serialize};

pub use batches::{Batch, Batches, RawDocument};
pub use find::{Found, Sources, find, probe};
pub use units::{Piece, Unit, units};

/// An object to read documents from.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its number, from 0 in the order of the inputs.
    pub number: u32,
    /// Its name in the folder; empty where the input is the object.
    pub name: String,
    /// Its size when it was found.
    pub bytes: u64,
    /// Why it cannot be read, if that is known.
    unreadable: Option<String>,
    folder: Folder,
    kind: Kind,
}

impl Source {
    /// The object's absolute URL.
    pub fn url(&self) -> String {
        self.folder.url_of(&self.name)
    }

    /// About how much text it holds at most.
    pub fn unpacked_bytes(&self) -> u64 {
        let is_packed = self.kind.packing != Packing::Plain || self.kind.layout == Layout::Parquet;
        if is_packed { self.bytes.saturating_mul(8) } else { self.bytes }
    }

    /// The same document by its line, where only its byte is known: that means reading all before it, so it is done for
    /// one document. What cannot be read is left as it is.
    pub fn with_line(&self, bad: BadDocument) -> BadDocument {
        let Place::Byte(byte) = bad.place else { return bad };
        let mut before = self.folder.reader(&self.name, 0..byte);
        let mut lines = 0;
        while let Ok(Some(bytes)) = before.next_bytes() {
            lines += memchr::memchr_iter(b'\n', &bytes).count() as u64;
        }
        BadDocument { place: Place::Line(lines + 1), ..bad }
    }
}

/// How documents lie in an object, and how it is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    layout: Layout,
    packing: Packing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Text,
    JsonLines,
    Parquet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

/// What prepare reads, for errors.
pub const KINDS: &str = ".txt or .jsonl (also .gz, .zst, .xz, .bz2), or .parquet";

impl Kind {
    /// The kind of an object of this name; `None` where it is not read.
    fn of(name: &str) -> Option<Kind> {
        let name = name.to_ascii_lowercase();
        let packings =
            [(".gz", Packing::Gzip), (".zst", Packing::Zstd), (".xz", Packing::Xz), (".bz2", Packing::Bzip2)];
        let packed = packings.iter().find_map(|(end, packing)| Some((name.strip_suffix(end)?, *packing)));
        let (name, packing) = packed.unwrap_or((&name, Packing::Plain));
        let layouts = [(".txt", Layout::Text), (".jsonl", Layout::JsonLines), (".parquet", Layout::Parquet)];
        let layout = layouts.iter().find(|(end, _)| name.ends_with(end))?.1;
        let is_read = packing == Packing::Plain || layout != Layout::Parquet;
        is_read.then_some(Kind { layout, packing })
    }
}

/// A document that cannot be read, or what is left of an object from there on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadDocument {
    /// The number of its source.
    pub source: u32,
    /// Its position, see the head of this module.
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

#[cfg(test)]
mod tests;
