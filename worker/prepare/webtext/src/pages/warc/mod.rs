//! Records of WARC files: 1.0, 1.1, and WET.
//!
//! - [`head`]: the header of a record. [`fields`]: its lines. [`magic`]: what a record begins with.
//! - [`block`]: where a record ends, which its Content-Length may say wrongly.

mod block;
pub(super) mod fields;
mod head;
mod magic;

use std::io::{self, Read};

use fields::{Fields, end_of_header};
use head::{Head, Purpose};
use magic::{MAGIC_BYTES, WARC};

use super::damage::{Damage, Fault, Wrong};
use super::http;
use super::limits::Limits;
use super::next::Next;
use super::page::{Kind, Mend, Page, Place};
use super::unpack::{More, Unpacked};

/// Reader of records, one after another.
pub(super) struct Records<R> {
    pub bytes: Unpacked<R>,
    limits: Limits,
}

impl<R: Read> Records<R> {
    pub fn new(bytes: Unpacked<R>, limits: Limits) -> Self {
        Records { bytes, limits }
    }

    /// Reads the next record.
    pub fn next(&mut self) -> io::Result<Next> {
        match self.skip_separators()? {
            More::Some => {}
            More::Torn => return Ok(Next::Damage(self.torn()?)),
            More::End => return Ok(Next::End),
        }
        let place = self.bytes.place(0);
        let damage = |(fault, reason): Wrong| Next::Damage(Damage { place, fault, reason });
        if self.have(WARC.len())? == More::Torn {
            return Ok(Next::Damage(self.torn()?));
        }
        if !self.bytes.bytes().starts_with(WARC) {
            let begin = self.bytes.position();
            if let Some(torn) = self.skip_to_record(None)? {
                return Ok(damage((Fault::Packing, torn)));
            }
            let skipped = self.bytes.position() - begin;
            return Ok(damage((Fault::NotARecord, format!("{skipped} bytes are no record"))));
        }
        let (head, has_blank_line) = match self.head()? {
            Ok(head) => head,
            Err(wrong) => return Ok(damage(wrong)),
        };
        let block = match (self.block(head.bytes)?, head.purpose) {
            (Ok(block), _) => block,
            // A long record that is no page costs nothing.
            (Err((Fault::TooLong, _)), Purpose::Skip(kind)) => return Ok(Next::Skipped(kind)),
            (Err(wrong), _) => return Ok(damage(wrong)),
        };
        let read = match head.purpose {
            Purpose::Skip(kind) => Next::Skipped(kind),
            Purpose::Page(kind) => {
                let content = self.bytes.bytes().get(..block.bytes).unwrap_or_default();
                match page(head, kind, content, &self.limits) {
                    Ok(mut page) => {
                        page.place = place;
                        page.mends.extend((!has_blank_line).then_some(Mend::BlankLine));
                        page.mends.extend(block.mend);
                        Next::Page(page)
                    }
                    Err(wrong) => damage(wrong),
                }
            }
        };
        self.bytes.consume(block.next);
        Ok(read)
    }

    /// Skips the line ends between records, and zeros.
    fn skip_separators(&mut self) -> io::Result<More> {
        loop {
            let unread = self.bytes.bytes();
            let all = unread.len();
            let skipped = unread.iter().take_while(|byte| matches!(byte, b'\r' | b'\n' | 0)).count();
            self.bytes.consume(skipped);
            if skipped < all {
                return Ok(More::Some);
            }
            match self.bytes.more()? {
                More::Some => {}
                end => return Ok(end),
            }
        }
    }

    /// Reads until the buffer has `bytes` bytes. Otherwise returns what is in the way.
    fn have(&mut self, bytes: usize) -> io::Result<More> {
        while self.bytes.bytes().len() < bytes {
            match self.bytes.more()? {
                More::Some => {}
                end => return Ok(end),
            }
        }
        Ok(More::Some)
    }

    /// Mends the tear that comes next, and returns it as damage.
    fn torn(&mut self) -> io::Result<Damage> {
        let (place, reason) = self.bytes.tear();
        self.bytes.mend()?;
        Ok(Damage { place, fault: Fault::Packing, reason })
    }

    /// Reads a header and steps over it. Returns it, and whether a blank line follows. If it has no end, it is skipped.
    fn head(&mut self) -> io::Result<Result<(Head, bool), Wrong>> {
        let most = self.limits.header_bytes;
        loop {
            let unread = self.bytes.bytes();
            let end = end_of_header(unread, is_content).filter(|end| end.header <= most);
            let until = end.map_or(unread.len(), |end| end.header);
            if let Some(next) = self.record_at_seam(1, until) {
                self.bytes.consume(next);
                return Ok(Err((Fault::Cut, "the next record begins inside of the header".to_owned())));
            }
            if let Some(end) = end {
                let head = Head::of(unread.get(..end.header).unwrap_or_default());
                self.bytes.consume(end.next);
                return Ok(Ok((head, end.has_blank_line)));
            }
            if unread.len() > most + 2 {
                self.bytes.consume(1);
                self.skip_to_record(None)?;
                return Ok(Err((Fault::Header, format!("the header has more than {most} bytes"))));
            }
            match self.bytes.more()? {
                More::Some => {}
                More::Torn => return Ok(Err(self.torn().map(|torn| (torn.fault, torn.reason))?)),
                More::End => {
                    self.bytes.consume(self.bytes.bytes().len());
                    return Ok(Err((Fault::Cut, "the object ends inside of the header: cut".to_owned())));
                }
            }
        }
    }

    /// Returns how far ahead a member begins that begins with a record, from `from` on and before `to`.
    fn record_at_seam(&self, from: usize, to: usize) -> Option<usize> {
        let unread = self.bytes.bytes();
        let begins = |at: usize| unread.get(at..).is_some_and(|rest| rest.starts_with(WARC));
        self.bytes.seams(from).take_while(|at| *at < to).find(|at| begins(*at))
    }

    /// Skips to the next record: at position `end`, if given, or where one seems to begin, or behind a tear. Returns
    /// what is wrong at a tear.
    fn skip_to_record(&mut self, end: Option<u64>) -> io::Result<Option<String>> {
        loop {
            let unread = self.bytes.bytes().len();
            let left = end.map(|end| end.saturating_sub(self.bytes.position()));
            let until = left.map_or(unread, |left| unread.min(usize::try_from(left).unwrap_or(unread)));
            let found = magic::find(self.bytes.bytes(), 1).filter(|at| *at < until);
            let next = [self.record_at_seam(1, until), found].into_iter().flatten().min();
            if let Some(next) = next {
                self.bytes.consume(next);
                return Ok(None);
            }
            if left.is_some_and(|left| left <= unread as u64) {
                self.bytes.consume(until);
                return Ok(None);
            }
            // A record may begin in the last bytes.
            self.bytes.consume(unread.saturating_sub(MAGIC_BYTES));
            match self.bytes.more()? {
                More::Some => {}
                More::Torn => return self.torn().map(|torn| Some(torn.reason)),
                More::End => {
                    self.bytes.consume(MAGIC_BYTES);
                    return Ok(None);
                }
            }
        }
    }
}

/// Returns whether a line is content, and the blank line before it is missing: an HTTP message begins, or a line has no colon
/// although the header is complete.
fn is_content(header: &[u8], line: &[u8]) -> bool {
    let is_folded = matches!(line.first(), Some(b' ' | b'\t'));
    let is_field = memchr::memchr(b':', line).is_some();
    line.starts_with(b"HTTP/")
        || !is_folded && !is_field && Fields::after_first_line(header).get("Content-Length").is_some()
}

/// Makes the page of a record of its content.
fn page(head: Head, kind: Kind, content: &[u8], limits: &Limits) -> Result<Page, Wrong> {
    let message = match kind {
        Kind::Response => http::Message::of(content, limits.payload_bytes)?,
        _ => http::Message::of_content(content, head.content_type, limits.payload_bytes)?,
    };
    let media_type = message.content_type.filter(|media_type| !media_type.name.is_empty());
    let (content_type, charset) = media_type.map_or((None, None), |found| (Some(found.name), found.charset));
    Ok(Page {
        kind,
        place: Place::default(),
        url: head.url,
        date: head.date,
        status: message.status,
        content_type: content_type.or(head.identified.map(|found| found.name)),
        charset,
        payload: message.content,
        is_truncated: head.is_truncated || message.is_cut,
        mends: message.mends,
    })
}
