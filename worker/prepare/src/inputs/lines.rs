//! Reads JSON lines: all of an unpacked object, or those that begin in a part of a plain one.

use std::io::{self, BufRead, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use common::storage::{Folder, Reader};

use super::fault::{Fault, Place};
use super::reading::{BOM, Failure, Next, too_long};
use super::source::Source;
use super::unpack::Counted;

/// Size of requests beyond a part: its last line ends in the next part, most often soon.
const TAIL_REQUEST_BYTES: u64 = 256 << 10;

/// Reader of lines in order.
pub(super) struct Lines {
    input: Box<dyn BufRead + Send>,
    /// Position at which the next line begins.
    position: u64,
    /// End of the part: lines that begin from here on belong to other parts.
    end: u64,
    /// Number of lines before the next one; `None` in the middle of an object.
    lines: Option<u64>,
    most: usize,
}

impl Lines {
    /// Reads all lines of `input`; those longer than `most` bytes are bad.
    pub fn of_all(input: Box<dyn BufRead + Send>, most: usize) -> Self {
        Lines { input, position: 0, end: u64::MAX, lines: Some(0), most }
    }

    /// Reads the lines of `source` that begin in `range`. `counter` counts the bytes of the part that are read.
    pub fn of_part(source: &Source, range: Range<u64>, most: usize, counter: &Arc<AtomicU64>) -> io::Result<Self> {
        // A line begins at the start of the part if the byte before ends one.
        let from = range.start.saturating_sub(1);
        let part = Counted { reader: source.folder.reader(&source.name, from..range.end), counter: counter.clone() };
        let (folder, name) = (source.folder.clone(), source.name.clone());
        let tail = Tail::NotYet { folder, name, range: range.end..source.bytes };
        let mut lines = Lines::of_all(Box::new(part.chain(tail)), most);
        (lines.position, lines.end) = (from, range.end);
        if range.start > 0 {
            lines.lines = None;
            // Skipping stops at the part's end: where no line begins in the part, nothing beyond it is needed.
            lines.position += lines.input.by_ref().take(range.end - from).skip_until(b'\n')? as u64;
        }
        Ok(lines)
    }

    /// Appends the next line to `content`, without its line end.
    pub fn next(&mut self, content: &mut Vec<u8>) -> Result<Next, Failure> {
        let start = content.len();
        loop {
            if self.position >= self.end {
                return Ok(Next::End);
            }
            let position = self.position;
            // The limit is one byte more than allowed, and the line end.
            let bytes = self.input.by_ref().take(self.most as u64 + 2).read_until(b'\n', content)?;
            if bytes == 0 {
                return Ok(Next::End);
            }
            let has_end = content.ends_with(b"\n");
            if has_end {
                content.pop();
            }
            let is_too_long = content.len() - start > self.most;
            self.position += bytes as u64;
            if is_too_long && !has_end {
                let rest = self.end.saturating_sub(self.position);
                self.position += self.input.by_ref().take(rest).skip_until(b'\n')? as u64;
            }
            self.lines = self.lines.map(|lines| lines + 1);
            let place = self.lines.map_or(Place::Byte(position), Place::Line);
            if is_too_long {
                let (fault, reason) = (Fault::TooLong, too_long(self.most as u64));
                return Ok(Next::Bad { position, place, fault, reason });
            }
            if position == 0 && content[start..].starts_with(BOM) {
                content.drain(start..start + BOM.len());
            }
            // Blank lines are skipped.
            if !content[start..].trim_ascii().is_empty() {
                return Ok(Next::Document { position, place, is_json: true, beside: Vec::new() });
            }
            content.truncate(start);
        }
    }
}

/// The bytes after a part, requested only if the part's last line needs them.
enum Tail {
    NotYet { folder: Folder, name: String, range: Range<u64> },
    Reading(Reader),
}

impl Read for Tail {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Tail {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Tail::NotYet { folder, name, range } = self {
            *self = Tail::Reading(folder.reader_by(name, range.clone(), TAIL_REQUEST_BYTES));
        }
        match self {
            Tail::Reading(reader) => reader.fill_buf(),
            Tail::NotYet { .. } => Ok(&[]),
        }
    }

    fn consume(&mut self, count: usize) {
        if let Tail::Reading(reader) = self {
            reader.consume(count);
        }
    }
}
