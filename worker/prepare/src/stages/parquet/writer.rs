//! Writes rows, a row group at a time.

use std::io::Write;
use std::mem::take;

use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int64Type,
};
use parquet::errors::Result as ParquetResult;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::damage::no_sense;
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
        let mut group = GroupWriter { group: self.file.next_row_group()? };
        R::write(rows, &mut group)?;
        group.group.close().map(drop)
    }
}

/// A row group that is being written. Each call writes the next column.
pub struct GroupWriter<'g, W: Write + Send> {
    group: SerializedRowGroupWriter<'g, W>,
}

impl<W: Write + Send> GroupWriter<'_, W> {
    /// Writes a column of ids.
    pub fn ids(&mut self, ids: impl Iterator<Item = u128>) -> ParquetResult<()> {
        self.put::<FixedLenByteArrayType>(ids.map(|id| FixedLenByteArray::from(id.to_be_bytes().to_vec())))
    }

    /// Writes a column of texts.
    pub fn texts(&mut self, texts: impl Iterator<Item = String>) -> ParquetResult<()> {
        self.put::<ByteArrayType>(texts.map(bytes_of))
    }

    /// Writes a column that has a text in some rows.
    pub fn some_texts(&mut self, texts: impl Iterator<Item = Option<String>>) -> ParquetResult<()> {
        self.put_some::<ByteArrayType>(texts.map(|text| text.map(bytes_of)))
    }

    /// Writes a column of whole numbers.
    pub fn numbers(&mut self, numbers: impl Iterator<Item = u64>) -> ParquetResult<()> {
        self.put::<Int64Type>(numbers.map(u64::cast_signed))
    }

    /// Writes a column that has a real number in some rows.
    pub fn some_doubles(&mut self, numbers: impl Iterator<Item = Option<f64>>) -> ParquetResult<()> {
        self.put_some::<DoubleType>(numbers)
    }

    fn put<T: DataType>(&mut self, values: impl Iterator<Item = T::T>) -> ParquetResult<()> {
        let values: Vec<T::T> = values.collect();
        self.put_values::<T>(&values, None)
    }

    fn put_some<T: DataType>(&mut self, values: impl Iterator<Item = Option<T::T>>) -> ParquetResult<()> {
        let values: Vec<Option<T::T>> = values.collect();
        let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
        let values: Vec<T::T> = values.into_iter().flatten().collect();
        self.put_values::<T>(&values, Some(&levels))
    }

    fn put_values<T: DataType>(&mut self, values: &[T::T], levels: Option<&[i16]>) -> ParquetResult<()> {
        let mut column = self.group.next_column()?.ok_or_else(|| no_sense("a row has more fields than columns"))?;
        column.typed::<T>().write_batch(values, levels, None)?;
        column.close()
    }
}

fn bytes_of(text: String) -> ByteArray {
    ByteArray::from(text.into_bytes())
}
