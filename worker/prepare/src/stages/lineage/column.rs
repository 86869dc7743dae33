//! A column of a Parquet file that a stage has written, at some of its rows.

use common::storage::{Reader, StorageError};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::DataType;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::RowGroupReader;

use crate::PrepareError;
use crate::panics::guarded;

/// Number of values that are decoded at once.
const ROWS_AT_ONCE: usize = 4096;

/// A column of a row group.
pub(in crate::stages) struct Column<T: DataType> {
    reader: ColumnReaderImpl<T>,
    is_optional: bool,
    rows: usize,
}

impl<T: DataType> Column<T> {
    /// Opens a column whose type is known from the schema.
    pub fn open(group: &dyn RowGroupReader, number: usize) -> ParquetResult<Self> {
        let reader: ColumnReader = group.get_column_reader(number)?;
        let is_optional = group.metadata().column(number).column_descr().max_def_level() > 0;
        Ok(Column { reader: get_typed_column_reader(reader), is_optional, rows: rows_of(group)? })
    }

    /// Calls `each` with the number and the value of every row, in their order.
    pub fn each(mut self, mut each: impl FnMut(usize, Option<T::T>) -> ParquetResult<()>) -> ParquetResult<()> {
        let mut row = 0;
        while row < self.rows {
            for value in self.some_of(self.rows - row)? {
                each(row, value)?;
                row += 1;
            }
        }
        Ok(())
    }

    /// Returns the values of `rows`, which ascend.
    pub fn at(mut self, rows: &[usize]) -> ParquetResult<Vec<Option<T::T>>> {
        let (mut values, mut next) = (Vec::with_capacity(rows.len()), 0);
        for neighbours in rows.chunk_by(|one, other| one + 1 == *other) {
            let skipped = neighbours[0] - next;
            if self.reader.skip_records(skipped)? < skipped {
                return Err(too_few());
            }
            let end = values.len() + neighbours.len();
            while values.len() < end {
                values.extend(self.some_of(end - values.len())?);
            }
            next = neighbours[0] + neighbours.len();
        }
        Ok(values)
    }

    /// Decodes some of the next `most` rows, and at least one.
    fn some_of(&mut self, most: usize) -> ParquetResult<Vec<Option<T::T>>> {
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let levels_wanted = self.is_optional.then_some(&mut levels);
        let (count, _, _) = self.reader.read_records(ROWS_AT_ONCE.min(most), levels_wanted, None, &mut values)?;
        if count == 0 {
            return Err(too_few());
        }
        let mut values = values.into_iter();
        Ok(match self.is_optional {
            true => levels.iter().map(|level| if *level > 0 { values.next() } else { None }).collect(),
            false => values.map(Some).collect(),
        })
    }
}

fn too_few() -> ParquetError {
    no_sense("a column has fewer rows than its row group")
}

/// Runs `read` on the file at `url`. Any fault of the file is an error that names it.
pub(in crate::stages) fn whole<T>(url: &str, read: impl FnOnce() -> ParquetResult<T>) -> Result<T, PrepareError> {
    let damaged = |reason: String| PrepareError::Lineage { url: url.to_owned(), reason };
    match guarded(read) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(match Reader::storage_error(&error) {
            Some(error) => PrepareError::Storage(StorageError::clone(error)),
            None => damaged(error.to_string()),
        }),
        Err(panic) => Err(damaged(panic)),
    }
}

/// Returns the error for a file that contradicts itself.
pub(in crate::stages) fn no_sense(reason: impl Into<String>) -> ParquetError {
    ParquetError::General(reason.into())
}

/// Returns the number of rows of a row group.
pub(in crate::stages) fn rows_of(group: &dyn RowGroupReader) -> ParquetResult<usize> {
    usize::try_from(group.metadata().num_rows()).map_err(|_| no_sense("a number of rows makes no sense"))
}
