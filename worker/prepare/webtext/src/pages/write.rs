//! Writes WARC 1.0 and 1.1 files: for tests, and to pack folders of pages into archives.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Packing of a WARC file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// None.
    Plain,
    /// A gzip member for each record.
    Gzip,
    /// A zstd frame for each record.
    Zstd,
}

/// Record to write.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// WARC-Type: `response`, `resource`, `conversion` or any other.
    pub record_type: &'a str,
    /// WARC-Target-URI.
    pub url: &'a str,
    /// WARC-Date, such as `2026-11-30T12:00:00Z`.
    pub date: &'a str,
    /// Content-Type.
    pub content_type: &'a str,
    /// Fields beyond these, as whole lines that end in CR LF.
    pub fields: &'a str,
    /// Content.
    pub block: &'a [u8],
}

/// Writer of a WARC file.
pub struct WarcWriter<W> {
    output: W,
    packing: Packing,
    version: &'static str,
    records: u64,
}

impl<W: Write> WarcWriter<W> {
    /// Writes WARC 1.0 to `output`.
    pub fn new(output: W, packing: Packing) -> Self {
        WarcWriter { output, packing, version: "1.0", records: 0 }
    }

    /// Writes WARC 1.1 from now on.
    #[must_use]
    pub fn version_1_1(mut self) -> Self {
        self.version = "1.1";
        self
    }

    /// Writes an HTTP response.
    ///
    /// # Errors
    /// Returns the error of the output.
    pub fn response(&mut self, url: &str, date: &str, message: &[u8]) -> io::Result<()> {
        let content_type = "application/http; msgtype=response";
        self.record(&Record { record_type: "response", url, date, content_type, fields: "", block: message })
    }

    /// Writes a record.
    ///
    /// # Errors
    /// Returns the error of the output.
    pub fn record(&mut self, record: &Record<'_>) -> io::Result<()> {
        self.records += 1;
        let (version, number) = (self.version, self.records);
        let Record { record_type, url, date, content_type, fields, block } = record;
        let mut whole = format!(
            "WARC/{version}\r\nWARC-Type: {record_type}\r\nWARC-Record-ID: <urn:uuid:00000000-0000-4000-8000-{number:012x}>\r\n\
             WARC-Target-URI: {url}\r\nWARC-Date: {date}\r\nContent-Type: {content_type}\r\n{fields}Content-Length: {}\r\n\r\n",
            block.len()
        )
        .into_bytes();
        whole.extend_from_slice(block);
        whole.extend_from_slice(b"\r\n\r\n");
        self.raw(&whole)
    }

    /// Writes a record from its bytes, which may be damaged.
    ///
    /// # Errors
    /// Returns the error of the output.
    pub fn raw(&mut self, whole: &[u8]) -> io::Result<()> {
        match self.packing {
            Packing::Plain => self.output.write_all(whole),
            Packing::Gzip => {
                let mut member = GzEncoder::new(&mut self.output, Compression::default());
                member.write_all(whole)?;
                member.finish().map(|_| ())
            }
            Packing::Zstd => {
                let mut frame = zstd::stream::write::Encoder::new(&mut self.output, 0)?;
                frame.include_checksum(true)?;
                frame.write_all(whole)?;
                frame.finish().map(|_| ())
            }
        }
    }

    /// Returns the output.
    pub fn into_inner(self) -> W {
        self.output
    }
}
