//! Why a filter is refused.

use std::io;

/// Why a filter cannot be made, merged, read or written.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// It would be too large.
    #[error("a filter of {grams} grams does not fit into memory")]
    Capacity {
        /// Grams that it was to be made for.
        grams: u64,
    },
    /// Two filters do not match.
    #[error("a filter of {} grams with seed {} cannot be merged with one of {} grams with seed {}", ours.0, ours.1, theirs.0, theirs.1)]
    Different {
        /// Capacity and seed of the one.
        ours: (u64, u64),
        /// Capacity and seed of the other.
        theirs: (u64, u64),
    },
    /// There is no memory for a filter in a file.
    #[error("there is no memory for the {bytes} bytes of the overlap filter")]
    Memory {
        /// Size of its bits.
        bytes: u64,
    },
    /// The file is not a filter.
    #[error("not an overlap filter: {0}")]
    Malformed(String),
    /// The file is damaged.
    #[error("the overlap filter is damaged: its contents do not have the SHA-256 at its end")]
    Damaged,
    /// Reading or writing failed.
    #[error("cannot read or write the overlap filter: {0}")]
    Io(#[from] io::Error),
}

impl FilterError {
    /// Returns what a person can do, as the end of a message.
    pub fn remedy(&self) -> &'static str {
        match self {
            FilterError::Malformed(_) | FilterError::Damaged | FilterError::Different { .. } => {
                "make the filter anew, by `launcher eval --overlap` with the texts that it is of and --save-filter"
            }
            FilterError::Capacity { .. } | FilterError::Memory { .. } => {
                "take a machine with more memory, fewer ranks on it, or a filter of fewer texts"
            }
            FilterError::Io(_) => "try again when it can be read and written",
        }
    }
}
