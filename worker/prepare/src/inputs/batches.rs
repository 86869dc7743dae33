//! Divides a unit into batches of about a mebibyte of documents. The division is always the same, so a batch is known by its
//! number.

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

/// Bytes of content at which a batch is full.
const BATCH_BYTES: usize = 1 << 20;
/// Number of documents at which a batch is full.
const BATCH_DOCUMENTS: usize = 1 << 14;

/// Consecutive documents of a unit.
#[derive(Debug, Default)]
pub struct Batch {
    /// Number of the unit, from 0.
    pub unit: u32,
    /// Number of the batch in the unit, from 0.
    pub number: u32,
    /// Whether this is the unit's last batch, which may be empty.
    pub is_last: bool,
    /// Contents of all documents, one after another.
    pub content: Vec<u8>,
    /// Documents with their places in `content`.
    pub documents: Vec<RawDocument>,
    /// Documents that could not be read.
    pub bad: Vec<BadDocument>,
}

/// The raw content of one document, before its text is known.
#[derive(Debug, Clone)]
pub struct RawDocument {
    /// Number of the source.
    pub source: u32,
    /// Position in the source, see [`crate::inputs`].
    pub position: u64,
    /// Position for people.
    pub place: Place,
    /// Whether the content is a JSON object with the text in a field; otherwise the content is the text.
    pub is_json: bool,
    /// Range of the document's content in the batch's.
    pub range: Range<usize>,
    /// Strings in the columns that were asked for, see [`Batches::with_columns`]; empty where documents have no columns.
    pub beside: Vec<Option<String>>,
}

/// Reader of a unit's batches, in order.
pub struct Batches<'s> {
    sources: &'s [Source],
    options: &'s ReadOptions,
    columns: &'s [&'s str],
    unit: &'s Unit,
    unit_number: u32,
    batch_number: u32,
    pieces_done: usize,
    current: Option<Documents>,
    has_ended: bool,
    /// Bytes of the pieces that are done, and of what was read of the current one.
    bytes_done: u64,
    counter: Arc<AtomicU64>,
}

impl<'s> Batches<'s> {
    /// Creates the reader of unit `unit_number` of `sources`.
    pub fn new(sources: &'s [Source], options: &'s ReadOptions, unit_number: u32, unit: &'s Unit) -> Self {
        Batches {
            sources,
            options,
            columns: &[],
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

    /// Reads, where documents are rows, the strings in these columns, too. A file may have some of them, or none.
    pub fn with_columns(self, columns: &'s [&'s str]) -> Self {
        Batches { columns, ..self }
    }

    /// Returns the next batch; `None` after the last one. Only a store that stays away is an error.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, PrepareError> {
        if self.has_ended {
            return Ok(None);
        }
        let mut batch = Batch { unit: self.unit_number, number: self.batch_number, ..Batch::default() };
        self.batch_number += 1;
        let mut bytes_beside = 0;
        while batch.content.len() + bytes_beside < BATCH_BYTES
            && batch.documents.len() + batch.bad.len() < BATCH_DOCUMENTS
        {
            let before = batch.documents.len();
            if !self.read_next(&mut batch)? {
                batch.is_last = true;
                self.has_ended = true;
                break;
            }
            let beside = batch.documents[before..].iter().flat_map(|document| document.beside.iter().flatten());
            bytes_beside += beside.map(String::len).sum::<usize>();
        }
        Ok(Some(batch))
    }

    /// Reads a document into `batch`, or moves to the next piece. Returns false at the end of the last one.
    fn read_next(&mut self, batch: &mut Batch) -> Result<bool, PrepareError> {
        let Some(piece) = self.unit.pieces.get(self.pieces_done) else { return Ok(false) };
        let source = &self.sources[piece.source as usize];
        let start = batch.content.len();
        let next = match &mut self.current {
            Some(documents) => documents.next(&mut batch.content),
            None => Documents::open(source, piece.range.clone(), self.options, self.columns, &self.counter).map(
                |documents| {
                    self.current = Some(documents);
                    Next::Nothing
                },
            ),
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
            Ok(Next::Document { position, place, is_json, beside }) => batch.documents.push(RawDocument {
                source: source.number,
                position,
                place,
                is_json,
                range: start..batch.content.len(),
                beside,
            }),
            Ok(Next::Bad { position, place, fault, reason }) => {
                batch.content.truncate(start);
                batch.bad.push(bad(position, place, fault, reason));
            }
            Ok(Next::End) => self.end_piece(),
            Err(Failure::Storage(error)) => return Err(lost(error)),
            Err(Failure::Object { fault, reason }) => {
                batch.content.truncate(start);
                // An object that cannot be opened is unreadable in all of its pieces, and counts once.
                if self.current.is_some() || piece.range.start == 0 {
                    // This position is after every other of the object.
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

    /// Returns the bytes of the unit that have been read. Those of a Parquet file count when all of it has been read.
    pub fn bytes_read(&self) -> u64 {
        self.unit.bytes.min(self.bytes_done + self.counter.load(Ordering::Relaxed))
    }
}

/// Returns the error for a failure of the store. It is not a fault of the object's content, so another time may succeed.
pub(crate) fn lost(error: StorageError) -> PrepareError {
    match error {
        StorageError::Unreachable { .. } => error.into(),
        other => PrepareError::Lost { code: other.exit_code(), reason: other.to_string() },
    }
}
