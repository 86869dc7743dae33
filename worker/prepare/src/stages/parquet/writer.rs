//! Writes rows, a row group at a time.

use std::io::Write;
use std::mem::take;

use parquet::errors::Result as ParquetResult;
use parquet::file::writer::SerializedFileWriter;

use super::group::GroupWriter;
use super::row::{Row, columns, properties};

/// Writer of rows, in the order in which they come. Holds at most a row group.
///
/// Equal rows give equal bytes. Errors of `W` come back as [`ParquetError::External`](parquet::errors::ParquetError::External).
pub struct RowWriter<R, W: Write + Send> {
    file: SerializedFileWriter<W>,
    rows: Vec<R>,
    bytes: usize,
}

impl<R: Row, W: Write + Send> RowWriter<R, W> {
    /// Begins a file.
    pub fn new(to: W) -> ParquetResult<Self> {
        let file = SerializedFileWriter::new(to, columns::<R>()?, properties::<R>()?)?;
        Ok(RowWriter { file, rows: Vec::new(), bytes: 0 })
    }

    /// Appends a row, with every text cut to its bound.
    pub fn push(&mut self, row: R) -> ParquetResult<()> {
        let row = row.bounded();
        self.bytes += row.bytes();
        self.rows.push(row);
        match self.bytes >= R::GROUP_BYTES || self.rows.len() >= R::GROUP_ROWS {
            true => self.write_group(),
            false => Ok(()),
        }
    }

    /// Ends the file, and flushes it to the target. Give `&mut target` to [`new`](Self::new) to go on with the target.
    pub fn finish(mut self) -> ParquetResult<()> {
        if !self.rows.is_empty() {
            self.write_group()?;
        }
        self.file.finish().map(drop)
    }

    fn write_group(&mut self) -> ParquetResult<()> {
        let rows = take(&mut self.rows);
        self.bytes = 0;
        let mut group = GroupWriter::new(self.file.next_row_group()?);
        R::write(rows, &mut group)?;
        group.close()
    }
}
