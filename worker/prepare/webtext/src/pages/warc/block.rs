//! Where the content of a record ends.
//!
//! Its Content-Length is believed where two line ends, a record, a seam or the end of the object follow. Elsewhere it is wrong,
//! and the content ends where the next record begins, or at the next seam. Only then is content searched for records, so that a
//! page may quote them.

use std::io::{self, Read};

use super::Records;
use super::magic::{self, MAGIC_BYTES};
use crate::pages::damage::{Fault, Wrong};
use crate::pages::page::Mend;
use crate::pages::unpack::More;

/// What separates records.
const SEPARATOR: &[u8] = b"\r\n\r\n";

/// Content of a record, in the buffer.
pub(super) struct Block {
    /// Its bytes.
    pub bytes: usize,
    /// Bytes to the next record, or to the separator before it.
    pub next: usize,
    /// What was mended.
    pub mend: Option<Mend>,
}

/// What follows a block.
enum After {
    /// A record, a seam, or the end of the object, after this many bytes of separator.
    Boundary(usize),
    /// Something else, after this many bytes of separator.
    Other(usize),
    Torn,
}

impl<R: Read> Records<R> {
    /// Reads the content of a record whose header has been stepped over, and which has `stated` bytes by its Content-Length. If
    /// that fails, steps over it.
    pub(super) fn block(&mut self, stated: Option<u64>) -> io::Result<Result<Block, Wrong>> {
        let most = self.limits.record_bytes;
        let Some(stated) = stated else { return self.block_without_length(0) };
        let Some(length) = usize::try_from(stated).ok().filter(|length| *length <= most) else {
            let end = self.bytes.position().saturating_add(stated);
            self.skip_to_record(Some(end))?;
            return Ok(Err(too_long(&format!("{stated} bytes"), most)));
        };
        let end = self.have(length)?;
        // A seam shows itself by the record after it, of which some bytes may not be in the buffer yet.
        if end == More::Some {
            self.have(length + MAGIC_BYTES)?;
        }
        if let Some(next) = self.record_at_seam(0, length) {
            return Ok(Ok(self.mended(next)));
        }
        match end {
            More::Some => {}
            More::Torn | More::End => {
                if let Some(next) = magic::find(self.bytes.bytes(), 0) {
                    return Ok(Ok(self.mended(next)));
                }
                return self.cut(end, stated);
            }
        }
        match self.after(length)? {
            After::Torn => self.cut(More::Torn, stated),
            After::Boundary(separator) => Ok(Ok(self.bounded(length, separator))),
            // What follows is damaged, and not this record.
            After::Other(separator) if separator >= SEPARATOR.len() => {
                Ok(Ok(Block { bytes: length, next: length, mend: None }))
            }
            After::Other(_) => {
                let inside = magic::find(self.bytes.bytes(), 0).filter(|next| *next < length);
                match inside {
                    Some(next) => Ok(Ok(self.mended(next))),
                    None => self.block_without_length(length),
                }
            }
        }
    }

    /// Reads content up to the next record, of which none begins before byte `from`.
    fn block_without_length(&mut self, from: usize) -> io::Result<Result<Block, Wrong>> {
        let most = self.limits.record_bytes;
        let mut from = from;
        loop {
            let unread = self.bytes.bytes();
            let seam = self.bytes.seams(from.max(1)).find(|at| *at < unread.len());
            let found = magic::find(unread, from);
            if let Some(next) = [seam, found].into_iter().flatten().min().filter(|next| *next <= most) {
                return Ok(Ok(self.mended(next)));
            }
            if unread.len() > most + MAGIC_BYTES {
                self.skip_to_record(None)?;
                return Ok(Err(too_long("no end", most)));
            }
            from = from.max(unread.len().saturating_sub(MAGIC_BYTES));
            match self.bytes.more()? {
                More::Some => {}
                More::Torn => return Ok(Err(self.torn().map(|torn| (torn.fault, torn.reason))?)),
                More::End => return Ok(Ok(self.mended(self.bytes.bytes().len()))),
            }
        }
    }

    /// Looks behind a block.
    fn after(&mut self, block: usize) -> io::Result<After> {
        let mut separator = 0;
        loop {
            let position = block + separator;
            let is_at_seam = |records: &Self| records.bytes.seams(block).any(|at| at <= position);
            match self.have(position + 1)? {
                More::Torn if is_at_seam(self) => return Ok(After::Boundary(separator)),
                More::Torn => return Ok(After::Torn),
                More::End => return Ok(After::Boundary(separator)),
                More::Some => {}
            }
            if matches!(self.bytes.bytes().get(position), Some(b'\r' | b'\n')) && separator < MAGIC_BYTES {
                separator += 1;
                continue;
            }
            if is_at_seam(self) {
                return Ok(After::Boundary(separator));
            }
            self.have(position + MAGIC_BYTES)?;
            let is_record = self.bytes.bytes().get(position..).is_some_and(magic::is_record);
            return Ok(if is_record { After::Boundary(separator) } else { After::Other(separator) });
        }
    }

    /// Returns the block of `length` bytes before a separator of `separator` bytes, which is to be the right one. Where part of
    /// the separator is in the block, Content-Length is a few bytes too large.
    fn bounded(&self, length: usize, separator: usize) -> Block {
        let unread = self.bytes.bytes();
        let block = unread.get(..length).unwrap_or_default();
        let found = unread.get(length..length + separator).unwrap_or_default();
        let swallowed = SEPARATOR.len().saturating_sub(separator);
        let bytes = SEPARATOR.strip_suffix(found).and_then(|rest| block.strip_suffix(rest)).map_or(length, <[u8]>::len);
        let mend = match found == SEPARATOR {
            true => None,
            false if bytes + swallowed == length && swallowed > 0 => Some(Mend::ContentLength),
            false => Some(Mend::Separator),
        };
        Block { bytes, next: length + separator, mend }
    }

    /// Returns the block that ends where the next record begins, without the separator.
    fn mended(&self, next: usize) -> Block {
        let block = self.bytes.bytes().get(..next).unwrap_or_default();
        let content = block.strip_suffix(SEPARATOR).or_else(|| block.strip_suffix(b"\n\n")).unwrap_or(block);
        Block { bytes: content.len(), next, mend: Some(Mend::ContentLength) }
    }

    /// Ends a record before whose end the object ends, or a tear lies.
    fn cut(&mut self, end: More, stated: u64) -> io::Result<Result<Block, Wrong>> {
        if end == More::Torn {
            return Ok(Err(self.torn().map(|torn| (torn.fault, torn.reason))?));
        }
        let bytes = self.bytes.bytes().len();
        if self.bytes.bytes().ends_with(SEPARATOR) {
            // It was written whole, so its Content-Length is too large.
            return Ok(Ok(self.mended(bytes)));
        }
        self.bytes.consume(bytes);
        Ok(Err((Fault::Cut, format!("the object ends after {bytes} bytes of a record of {stated}: cut"))))
    }
}

fn too_long(what: &str, most: usize) -> Wrong {
    (Fault::TooLong, format!("a record of {what}, longer than the limit of {most} bytes"))
}
