//! Options for reading documents, and the results of reading in every layout: a document, a bad document, or an object that
//! cannot be read on.

use std::error::Error;
use std::io;

use common::config::PrepareConfig;
use common::storage::{Reader, StorageError};
use parquet::errors::ParquetError;

use super::fault::{Fault, Place};
use crate::panics::guarded;

/// Options for reading documents.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Column of a Parquet file that holds the text.
    pub text_field: String,
    /// Longest document in bytes; longer ones are bad.
    pub document_bytes_max: usize,
}

impl ReadOptions {
    /// Returns the options of a config.
    pub fn of(config: &PrepareConfig) -> Self {
        ReadOptions {
            text_field: config.text_field.clone(),
            document_bytes_max: usize::try_from(config.max_document_bytes).unwrap_or(usize::MAX),
        }
    }
}

/// The next result of reading an object.
pub(super) enum Next {
    /// A document, whose content was appended. See [`RawDocument`](super::RawDocument) for `beside`.
    Document { position: u64, place: Place, is_json: bool, beside: Vec<Option<String>> },
    /// A bad document; the appended bytes must be dropped.
    Bad { position: u64, place: Place, fault: Fault, reason: String },
    /// Nothing yet; the caller calls again.
    Nothing,
    /// The end of the object.
    End,
}

/// Reason why the rest of an object cannot be read.
pub(super) enum Failure {
    /// The store is at fault. The job ends, since another time may succeed.
    Storage(StorageError),
    /// The object is at fault.
    Object { fault: Fault, reason: String },
}

impl Failure {
    fn of(error: &(dyn Error + 'static)) -> Self {
        match Reader::storage_error(error) {
            Some(error) => Failure::Storage(error.clone()),
            None => Failure::unreadable(error.to_string()),
        }
    }

    pub(super) fn unreadable(reason: String) -> Self {
        Failure::Object { fault: Fault::UnreadableObject, reason }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Failure::unreadable("it ends too early: truncated".into()),
            _ => Failure::of(&error),
        }
    }
}

impl From<ParquetError> for Failure {
    fn from(error: ParquetError) -> Self {
        Failure::of(&error)
    }
}

/// Returns the failure of a file that contradicts itself.
pub(super) fn no_sense(what: &str) -> Failure {
    Failure::unreadable(format!("damaged: {what} in it makes no sense"))
}

/// Runs `read`, and reports a panic as damage: the Parquet library trusts some of what files say, and panics where that is
/// wrong.
pub(super) fn damage_if_it_panics<T>(read: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    guarded(read).unwrap_or_else(|panic| Err(Failure::unreadable(format!("damaged: {panic}"))))
}

/// Byte order mark, which is not part of the text at the start of an object.
pub(super) const BOM: &[u8] = "\u{feff}".as_bytes();

/// Largest value of `prepare.max_document_bytes`: no longer document can be prepared.
pub const LONGEST_DOCUMENT: u64 = 1 << 30;

/// Returns the reason for a document that is too long.
pub(super) fn too_long(most: u64) -> String {
    match most {
        LONGEST_DOCUMENT.. => format!("longer than any document may be, {LONGEST_DOCUMENT} bytes; split it"),
        _ => format!("longer than prepare.max_document_bytes = {most}; split it, or raise that"),
    }
}
