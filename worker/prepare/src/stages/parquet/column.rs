//! Reads a column of a row group.

use parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::DataType;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::RowGroupReader;

use super::damage::no_sense;

/// Number of values that are decoded at once.
const ROWS_AT_ONCE: usize = 4096;

/// A column of a row group.
pub(super) struct Column<T: DataType> {
    reader: ColumnReaderImpl<T>,
    is_optional: bool,
}

impl<T: DataType> Column<T> {
    /// Opens a column whose type is known from the schema.
    pub fn open(group: &dyn RowGroupReader, number: usize) -> ParquetResult<Self> {
        let is_optional = group.metadata().column(number).column_descr().max_def_level() > 0;
        Ok(Column { reader: get_typed_column_reader(group.get_column_reader(number)?), is_optional })
    }

    /// Calls `each` with the number and the value of each of the first `rows` rows, in their order.
    pub fn each(
        mut self,
        rows: usize,
        mut each: impl FnMut(usize, Option<T::T>) -> ParquetResult<()>,
    ) -> ParquetResult<()> {
        let mut row = 0;
        while row < rows {
            for value in self.some_of(rows - row)? {
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
