//! Reads the documents of an object, or of a part of it.

use std::io::{BufReader, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::fault::{Fault, Place};
use super::lines::Lines;
use super::reading::{BOM, Failure, Next, ReadOptions, too_long};
use super::rows::Rows;
use super::source::{Layout, Packing, Source};
use super::unpack::unpacked;

/// Bytes that unpackers and lines read at a time.
const BUFFER_BYTES: usize = 256 << 10;
/// Reader of the documents of a piece of a source.
pub(super) enum Documents {
    Text(Option<Box<dyn Read + Send>>, u64),
    Lines(Lines),
    Rows(Box<Rows>),
}

impl Documents {
    /// Opens the documents of `source` that begin in `range`. Strings in the columns `beside` are read with the text. `counter`
    /// counts the bytes of the object that are read.
    pub fn open(
        source: &Source,
        range: Range<u64>,
        options: &ReadOptions,
        beside: &[&str],
        counter: &Arc<AtomicU64>,
    ) -> Result<Self, Failure> {
        let most = options.document_bytes_max;
        if let Some(reason) = &source.unreadable {
            return Err(Failure::unreadable(reason.clone()));
        }
        Ok(match source.kind.layout {
            Layout::Text => Documents::Text(Some(unpacked(source, counter)?), most as u64),
            Layout::JsonLines if source.kind.packing == Packing::Plain => {
                Documents::Lines(Lines::of_part(source, range, most, counter)?)
            }
            Layout::JsonLines => {
                let unpacked = BufReader::with_capacity(BUFFER_BYTES, unpacked(source, counter)?);
                Documents::Lines(Lines::of_all(Box::new(unpacked), most))
            }
            Layout::Parquet => Documents::Rows(Box::new(Rows::open(source, range, options, beside)?)),
        })
    }

    /// Appends the next document to `content`.
    pub fn next(&mut self, content: &mut Vec<u8>) -> Result<Next, Failure> {
        match self {
            Documents::Text(text, most) => match text.take() {
                Some(text) => whole_text(text, *most, content),
                None => Ok(Next::End),
            },
            Documents::Lines(lines) => lines.next(content),
            Documents::Rows(rows) => rows.next(content),
        }
    }
}

fn whole_text(text: Box<dyn Read + Send>, most: u64, content: &mut Vec<u8>) -> Result<Next, Failure> {
    let start = content.len();
    let bytes = text.take(most + 1).read_to_end(content)?;
    let (position, place) = (0, Place::Object);
    if bytes as u64 > most {
        return Ok(Next::Bad { position, place, fault: Fault::TooLong, reason: too_long(most) });
    }
    if content[start..].starts_with(BOM) {
        content.drain(start..start + BOM.len());
    }
    Ok(Next::Document { position, place, is_json: false, beside: Vec::new() })
}
