//! A page, and where it lies in its object.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A page as it was archived: its bytes, and what is known about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Kind of the record.
    pub kind: Kind,
    /// Place of the record in the object.
    pub place: Place,
    /// Address of the page.
    pub url: Option<String>,
    /// Time of the capture, as the archive has it: mostly `2026-11-30T12:00:00Z`.
    pub date: Option<String>,
    /// Status of the HTTP response.
    pub status: Option<u16>,
    /// Media type in lower case, without parameters; the archive's own finding where the response has none.
    pub content_type: Option<String>,
    /// Name of the charset in the header, in lower case.
    pub charset: Option<String>,
    /// Content without its transfer and content encodings.
    pub payload: Vec<u8>,
    /// Whether the end of the content is missing.
    pub is_truncated: bool,
    /// Faults of the archive that were mended.
    pub mends: Vec<Mend>,
}

/// Kinds of records that are pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// HTTP response.
    Response,
    /// Content without an HTTP header.
    Resource,
    /// Content in another form than the one it was fetched in. The text in WET files is of this kind.
    Conversion,
    /// HTML file.
    Html,
    /// JSON line.
    Json,
}

/// Faults of an archive that cost no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mend {
    /// The record's Content-Length was missing or wrong.
    ContentLength,
    /// The two line ends after the record were missing, or were others.
    Separator,
    /// The blank line after a header was missing.
    BlankLine,
    /// The header claims chunked transfer for content that is not in chunks.
    NotChunked,
    /// The header claims a content encoding for content that was unpacked before.
    AlreadyUnpacked,
}

/// Place of a record in its object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// First byte, in the object, of the record, or of the gzip member or zstd frame in which it begins.
    pub at: u64,
    /// Number of unpacked bytes in that member or frame before the record.
    pub within: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.within {
            0 => write!(f, "byte {}", self.at),
            within => write!(f, "byte {} of what byte {} unpacks to", within, self.at),
        }
    }
}
