//! Pages, and the verdict on each.

use serde::{Deserialize, Serialize};

use super::charset::CharsetSource;

/// A page as it was fetched.
#[derive(Clone, Copy, Debug, Default)]
pub struct Page<'a> {
    /// Body, without transfer or content encoding.
    pub body: &'a [u8],
    /// Value of the HTTP header `Content-Type`, if there was one.
    pub content_type: Option<&'a str>,
}

/// Main text of a page, with what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Article {
    /// Paragraphs, separated by a blank line. A single line feed is a line break within one.
    pub text: String,
    /// Title, empty if the page has none.
    pub title: String,
    /// Date of publication as `YYYY-MM-DD`, as the page states it.
    pub date: Option<String>,
    /// Name of the charset in the Encoding Standard, such as `windows-1252`.
    pub charset: String,
    /// Where the charset is known from.
    pub charset_source: CharsetSource,
    /// Characters U+FFFD that decoding put in place of malformed bytes, in the whole page.
    pub malformed: usize,
    /// Entities and misread UTF-8 sequences that were repaired in the text.
    pub mended: usize,
    /// Control characters, byte order marks and soft hyphens that were removed from the text.
    pub removed: usize,
    /// No-break spaces of the text that became spaces, without those that were collapsed with other white space.
    pub spaces: usize,
    /// Tags that were dropped because they were nested too deep, in the whole page.
    pub flattened: usize,
}

/// What became of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// The page has a text.
    Text(Article),
    /// The page has no main text.
    NoText,
    /// The page is longer than [`Limits::page_bytes`](super::Limits::page_bytes).
    TooLarge {
        /// Length of the page.
        bytes: u64,
    },
    /// Tags are nested deeper than [`Limits::refused_depth`](super::Limits::refused_depth).
    TooDeep,
    /// Parsing took longer than [`Limits::cpu_ms`](super::Limits::cpu_ms), or hung.
    TimedOut,
    /// Parsing needed more than [`Limits::memory_bytes`](super::Limits::memory_bytes).
    OutOfMemory,
    /// The parser failed: a panic, an overflow of the stack, or another signal that is not from outside.
    Crashed {
        /// What is known of the failure.
        cause: String,
    },
}

impl Verdict {
    /// Name of the verdict, for counters and lineage.
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Text(_) => "text",
            Verdict::NoText => "no_text",
            Verdict::TooLarge { .. } => "too_large",
            Verdict::TooDeep => "too_deep",
            Verdict::TimedOut => "timed_out",
            Verdict::OutOfMemory => "out_of_memory",
            Verdict::Crashed { .. } => "crashed",
        }
    }
}
