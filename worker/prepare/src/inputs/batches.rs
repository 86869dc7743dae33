//! A unit to batches: about a mebibyte of documents each, always the same ones, so that a batch is known by its number.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::storage::StorageError;

use super::documents::Documents;
use super::fault::{BadDocument, Place};
use super::reading::{Failure, Next, ReadOptions};
use super::source::Source;
use super::units::Unit;
use crate::PrepareError;

/// A batch is full when it has so much content.
const BATCH_BYTES: usize = 1 << 20;
/// Or so many documents.
const BATCH_DOCUMENTS: usize = 1 << 14;

/// Some documents of a unit.
#[derive(Debug, Default)]
pub struct Batch {
    /// Which unit, from 0.
    pub unit: u32,
    /// Which of its batches, from 0.
    pub number: u32,
    /// Whether it is the last one; it may be empty.
    pub is_last: bool,
    /// The contents of all documents.
    pub content: Vec<u8>,
    /// The documents.
    pub documents: Vec<RawDocument>,
    /// What was found on the way and is no document.
    pub bad: Vec<BadDocument>,
}

/// What should be one document.
#[derive(Debug, Clone)]
pub struct RawDocument {
    /// The number of its source.
    pub source: u32,
    /// Its position there.
    pub position: u64,
    /// The same for people.
    pub place: Place,
    /// Whether the content is a JSON object with the text in a field, and not the text itself.
    pub is_json: bool,
    /// Its content.
    pub range: Range<usize>,
}

/// The batches of a unit, in order.
pub struct Batches<'s> {
    sources: &'s [Source],
    options: &'s ReadOptions,
    unit: &'s Unit,
    unit_number: u32,
    batch_number: u32,
    pieces_done: usize,
    current: Option<Documents>,
    has_ended: bool,
    /// Bytes of the pieces that are done, and what was read of the current one.
    bytes_done: u64,
    counter: Arc<AtomicU64>,
}

impl<'s> Batches<'s> {
    /// Of unit number `unit_number` of the `sources`.
    pub fn new(sources: &'s [Source], options: &'s ReadOptions, unit_number: u32, unit: &'s Unit) -> Self {
        Batches {
            sources,
            options,
            unit,
            unit_number,
            batch_number: 0,
            pieces_done: 0,
            current: None,
            has_ended: false,
            bytes_done: 0,
            counter: Arc::default(),
        }
    }

    /// The next batch; `None` after the last one. Only a store that stays away is an error.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, PrepareError> {
        if self.has_ended {
            return Ok(None);
        }
        let mut batch = Batch { unit: self.unit_number, number: self.batch_number, ..Batch::default() };
        self.batch_number += 1;
        while batch.content.len() < BATCH_BYTES && batch.documents.len() + batch.bad.len() < BATCH_DOCUMENTS {
            if !self.read_next(&mut batch)? {
                batch.is_last = true;
                self.has_ended = true;
                break;
            }
        }
        Ok(Some(batch))
    }

    /// Reads a document into `batch`, or goes on to the next piece; false at the end of the last one.
    fn read_next(&mut self, batch: &mut Batch) -> Result<bool, PrepareError> {
        let Some(piece) = self.unit.pieces.get(self.pieces_done) else { return Ok(false) };
        let source = &self.sources[piece.source as usize];
        let start = batch.content.len();
        let next = match &mut self.current {
            Some(documents) => documents.next(&mut batch.content),
            None => Documents::open(source, piece.range.clone(), self.options, &self.counter).map(|documents| {
                self.current = Some(documents);
                Next::Nothing
            }),
        };
        let bad = |position, place, fault, reason| BadDocument {
            source: source.number,
            position,
            url: source.url(),
            place,
            fault,
            reason,
        };
        match next {
            Ok(Next::Nothing) => {}
            Ok(Next::Document { position, place, is_json }) => batch.documents.push(RawDocument {
                source: source.number,
                position,
                place,
                is_json,
                range: start..batch.content.len(),
            }),
            Ok(Next::Bad { position, place, fault, reason }) => {
                batch.content.truncate(start);
                batch.bad.push(bad(position, place, fault, reason));
            }
            Ok(Next::End) => self.end_piece(),
            Err(Failure::Storage(error)) => return Err(lost(error)),
            Err(Failure::Object { fault, reason }) => {
                batch.content.truncate(start);
                // What cannot be opened cannot be in any of its pieces, and counts once.
                if self.current.is_some() || piece.range.start == 0 {
                    // After everything else of the object.
                    batch.bad.push(bad(u64::MAX, Place::Object, fault, reason));
                }
                self.end_piece();
            }
        }
        Ok(true)
    }

    fn end_piece(&mut self) {
        let range = &self.unit.pieces[self.pieces_done].range;
        self.bytes_done += range.end - range.start;
        self.counter = Arc::default();
        self.current = None;
        self.pieces_done += 1;
    }

    /// How many bytes of the unit have been read; those of a Parquet file count when all of it has.
    pub fn bytes_read(&self) -> u64 {
        self.unit.bytes.min(self.bytes_done + self.counter.load(Ordering::Relaxed))
    }
}

/// A failure of the store: not one of an object's content, so not the same the next time.
fn lost(error: StorageError) -> PrepareError {
    match error {
        StorageError::Unreachable { .. } => error.into(),
        other => PrepareError::Lost { code: other.exit_code(), reason: other.to_string() },
    }
}
