//! Reads JSON lines, of which each is a page ([`super::json`]).

use std::io::{self, Read};

use super::damage::{Damage, Fault};
use super::json;
use super::limits::Limits;
use super::next::Next;
use super::unpack::{More, Unpacked};

/// Reader of JSON lines.
pub(super) struct Lines<R> {
    pub bytes: Unpacked<R>,
    limits: Limits,
}

impl<R: Read> Lines<R> {
    pub fn new(bytes: Unpacked<R>, limits: Limits) -> Self {
        Lines { bytes, limits }
    }

    /// Reads the next line that is not blank.
    pub fn next(&mut self) -> io::Result<Next> {
        let most = self.limits.record_bytes;
        let mut looked_at = 0;
        loop {
            let unread = self.bytes.bytes();
            let place = self.bytes.place(0);
            let damage = |fault, reason| Ok(Next::Damage(Damage { place, fault, reason }));
            let found = memchr::memchr(b'\n', unread.get(looked_at..).unwrap_or_default()).map(|at| looked_at + at);
            if found.unwrap_or(unread.len()) > most {
                self.skip_line()?;
                return damage(Fault::TooLong, format!("a line of more than {most} bytes"));
            }
            let (line_end, next) = match found {
                Some(end) => (end, end + 1),
                None => {
                    looked_at = unread.len();
                    match self.bytes.more()? {
                        More::Some => continue,
                        More::Torn => {
                            let (torn, reason) = self.bytes.tear();
                            // The damage is that of the line that was begun, if any.
                            let place = if looked_at > 0 { place } else { torn };
                            self.bytes.mend()?;
                            return Ok(Next::Damage(Damage { place, fault: Fault::Packing, reason }));
                        }
                        More::End if looked_at == 0 => return Ok(Next::End),
                        More::End => (looked_at, looked_at),
                    }
                }
            };
            let line = self.bytes.bytes().get(..line_end).unwrap_or_default();
            let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line).trim_ascii();
            let read = (!line.is_empty()).then(|| json::page(line, place, self.limits.payload_bytes));
            self.bytes.consume(next);
            match read {
                Some(Ok(page)) => return Ok(Next::Page(page)),
                Some(Err((fault, reason))) => return damage(fault, reason),
                None => looked_at = 0,
            }
        }
    }

    /// Skips to the end of the line, or of what can be read of it.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let unread = self.bytes.bytes();
            let (all, found) = (unread.len(), memchr::memchr(b'\n', unread));
            self.bytes.consume(found.map_or(all, |at| at + 1));
            if found.is_some() {
                return Ok(());
            }
            match self.bytes.more()? {
                More::Some => {}
                More::Torn => return self.bytes.mend(),
                More::End => return Ok(()),
            }
        }
    }
}
