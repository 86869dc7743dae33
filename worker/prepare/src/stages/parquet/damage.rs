//! Errors for files that are not as they were written, or that cannot be written.

use common::storage::{Folder, Reader};
use parquet::errors::{ParquetError, Result as ParquetResult};

use super::row::Row;
use crate::PrepareError;
use crate::panics::guarded;
use crate::stages::damaged;

/// Runs `read` on the object `name` of `folder`, which holds rows of kind `R`. What cannot be read, other than for the store, is
/// damaged: the bytes were Convoy's own.
pub(super) fn whole<R: Row, T>(
    folder: &Folder,
    name: &str,
    read: impl FnOnce() -> ParquetResult<T>,
) -> Result<T, PrepareError> {
    let reason = match guarded(read) {
        Ok(Ok(read)) => return Ok(read),
        Ok(Err(error)) => match Reader::storage_error(&error) {
            Some(error) => return Err(error.clone().into()),
            None => error.to_string(),
        },
        Err(panic) => panic,
    };
    Err(R::damaged(folder, name, reason))
}

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
