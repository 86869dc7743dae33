//! Why a file is refused.

use std::io;

/// Why a file cannot be written or read, with its name.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {fault}; {}", .fault.remedy())]
pub struct FileError {
    /// Name of the file, as the caller gave it.
    pub name: String,
    /// What is wrong.
    pub fault: FileFault,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// It is another file.
    #[error("not a file of duplicates: it does not begin with CNVDEDUP")]
    Magic,
    /// It was made by other rules or parameters, or has something else.
    #[error("{field} {found}: expected {expected}")]
    Other {
        /// What differs.
        field: &'static str,
        /// What the file has.
        found: u64,
        /// What it should have.
        expected: u64,
    },
    /// Its length is that of no number of records.
    #[error("{bytes} bytes: expected {least} and a multiple of {record_bytes}, the bytes of a record")]
    Length {
        /// Its length.
        bytes: u64,
        /// The length of a file without records.
        least: u64,
        /// The width of a record.
        record_bytes: u64,
    },
    /// It ends before the length that it was said to have.
    #[error("it ends before byte {bytes}, at which it should end")]
    Cut {
        /// The length that it was said to have.
        bytes: u64,
    },
    /// It goes on behind the length that it was said to have.
    #[error("it goes on behind byte {bytes}, at which it should end")]
    Long {
        /// The length that it was said to have.
        bytes: u64,
    },
    /// A record is not greater than the one before.
    #[error("record {record} is not greater than the one before")]
    Order {
        /// Number of the record, from 0.
        record: u64,
    },
    /// A record is not as wide as all others.
    #[error("a record of {found} bytes: expected {expected}")]
    Width {
        /// Its width.
        found: usize,
        /// The width of the file's records.
        expected: usize,
    },
    /// The number of records at its end is another.
    #[error("{stated} records by its end: expected {found}, as many as there are")]
    Count {
        /// By its end.
        stated: u64,
        /// By its length.
        found: u64,
    },
    /// Its contents are not those that were written.
    #[error("it is damaged: its contents do not have the SHA-256 at its end")]
    Damaged,
    /// Reading or writing failed.
    #[error("cannot read or write it: {0}")]
    Io(#[from] io::Error),
}

impl FileFault {
    /// Returns what a person can do, as the end of a message.
    pub fn remedy(&self) -> &'static str {
        match self {
            FileFault::Other { .. } => {
                "use the parameters that it was made with, or make it anew from its documents with these"
            }
            FileFault::Width { .. } | FileFault::Order { .. } => "make it anew from its documents",
            FileFault::Io(_) => "try again when it can be read and written",
            _ => "copy it anew, or make it anew from its documents",
        }
    }

    pub(super) fn of(self, name: &str) -> FileError {
        FileError { name: name.to_owned(), fault: self }
    }
}
