//! How documents are read, and what that comes to in every layout: a document, one that is none, or an object that cannot be read on.

use std::error::Error;
use std::io;

use common::storage::{Reader, StorageError};
use parquet::errors::ParquetError;

use super::fault::{Fault, Place};

/// How documents are read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The column of a Parquet file that holds the text.
    pub text_field: String,
    /// Longer documents are bad.
    pub document_bytes_max: usize,
}

/// What comes next in an object.
pub(super) enum Next {
    /// A document, whose content was appended.
    Document { position: u64, place: Place, is_json: bool },
    /// A document that is none; what was appended is to be dropped.
    Bad { position: u64, place: Place, fault: Fault, reason: String },
    /// Nothing yet: call again.
    Nothing,
    /// Nothing more.
    End,
}

/// Why an object cannot be read on.
pub(super) enum Failure {
    /// The store is at fault: the end of the job, since another time it may not be.
    Storage(StorageError),
    /// This object is at fault.
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

/// A byte order mark at the start of an object is not part of its text.
pub(super) const BOM: &[u8] = "\u{feff}".as_bytes();

/// What is said of a document that is too long.
pub(super) fn too_long(most: u64) -> String {
    format!("longer than prepare.max_document_bytes = {most}; split it, or raise that")
}
