//! Limits of records and pages, and the memory that follows from them.

use super::unpack::{CHUNK_BYTES, KEPT_BYTES};

/// Limits of one record. What is longer is counted as damage and skipped in bounded memory, never cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest header of a WARC record, in bytes.
    pub header_bytes: usize,
    /// Largest record without its header, and longest JSON line, in bytes.
    pub record_bytes: usize,
    /// Largest content of a page in bytes, and largest result of each of its encodings.
    pub payload_bytes: usize,
}

impl Default for Limits {
    /// 64 KiB, 8 MiB and 8 MiB. Common Crawl cuts content at 1 MiB, since 2025 at 5 MiB.
    fn default() -> Self {
        Limits { header_bytes: 64 << 10, record_bytes: 8 << 20, payload_bytes: 8 << 20 }
    }
}

/// Largest window of a zstd frame, as base-2 logarithm of bytes: 128 MiB, the default of zstd's own command.
pub(super) const OBJECT_WINDOW_LOG: u32 = 27;
/// Largest window of zstd as a content encoding: 8 MiB, by RFC 9659.
pub(super) const CONTENT_WINDOW_LOG: u32 = 23;

impl Limits {
    /// Returns an upper bound on the memory of a [`super::Pages`], its current page included: record and header three times, since a
    /// buffer grows by halves, content twice for two encodings of it, packed bytes that are kept for what comes after damage, and
    /// 16 MiB for the windows of content encodings.
    ///
    /// A zstd frame with a long window needs up to 128 MiB on top of it, as its author decided, and content in JSON lines needs
    /// its line once more.
    pub fn memory_bytes(&self) -> usize {
        let record = self.record_bytes.saturating_add(self.header_bytes).saturating_add(2 * CHUNK_BYTES);
        let content = self.payload_bytes.saturating_mul(4);
        record.saturating_mul(3).saturating_add(content).saturating_add(3 * KEPT_BYTES + (16 << 20))
    }
}
