//! An object that is one page.

use std::io::{self, Read};

use super::damage::{Damage, Fault};
use super::limits::Limits;
use super::next::Next;
use super::page::{Kind, Page};
use super::unpack::{More, Unpacked};

/// Reader of an HTML file.
pub(super) struct File<R> {
    pub bytes: Unpacked<R>,
    limits: Limits,
    is_read: bool,
}

impl<R: Read> File<R> {
    pub fn new(bytes: Unpacked<R>, limits: Limits) -> Self {
        File { bytes, limits, is_read: false }
    }

    /// Reads the page. What follows damage is no page, so there is at most one.
    pub fn next(&mut self) -> io::Result<Next> {
        if std::mem::replace(&mut self.is_read, true) {
            return Ok(Next::End);
        }
        let place = self.bytes.place(0);
        let most = self.limits.payload_bytes.min(self.limits.record_bytes);
        let damage = |fault, reason| Ok(Next::Damage(Damage { place, fault, reason }));
        loop {
            if self.bytes.bytes().len() > most {
                return damage(Fault::TooLong, format!("the content has more than {most} bytes"));
            }
            match self.bytes.more()? {
                More::Some => {}
                More::Torn => return damage(Fault::Packing, self.bytes.tear().1),
                More::End => break,
            }
        }
        Ok(Next::Page(Page {
            kind: Kind::Html,
            place,
            url: None,
            date: None,
            status: None,
            content_type: Some("text/html".to_owned()),
            charset: None,
            payload: self.bytes.bytes().to_vec(),
            is_truncated: false,
            mends: Vec::new(),
        }))
    }
}
