//! Errors for files that are not as they were written, or that cannot be written.

use common::storage::{Folder, Reader};
use parquet::errors::ParquetError;

use crate::PrepareError;
use crate::stages::damaged;

/// Returns the error for the failure of the Parquet library to write the object `name` of `folder`.
pub fn failure(folder: &Folder, name: &str, error: &ParquetError) -> PrepareError {
    match Reader::storage_error(error) {
        Some(error) => error.clone().into(),
        None => damaged(folder, name, format!("it cannot be written: {error}")),
    }
}

/// Returns the error for a file that contradicts itself.
pub fn no_sense(reason: impl Into<String>) -> ParquetError {
    ParquetError::General(reason.into())
}
