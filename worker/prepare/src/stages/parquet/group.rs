//! The columns of a row group, written or read one after another.

use std::io::Write;

use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int64Type,
};
use parquet::errors::Result as ParquetResult;
use parquet::file::reader::RowGroupReader;
use parquet::file::writer::SerializedRowGroupWriter;

use super::column::Column;
use super::damage::no_sense;

/// A row group that is being written. Each call writes the next column.
pub struct GroupWriter<'g, W: Write + Send> {
    group: SerializedRowGroupWriter<'g, W>,
}

impl<'g, W: Write + Send> GroupWriter<'g, W> {
    pub(super) fn new(group: SerializedRowGroupWriter<'g, W>) -> Self {
        GroupWriter { group }
    }

    pub(super) fn close(self) -> ParquetResult<()> {
        self.group.close().map(drop)
    }

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

/// Columns of a row group, at some of its rows. Each call reads the next column.
pub struct Columns<'r> {
    group: &'r dyn RowGroupReader,
    next: usize,
    rows: &'r [usize],
}

impl<'r> Columns<'r> {
    pub(super) fn new(group: &'r dyn RowGroupReader, next: usize, rows: &'r [usize]) -> Self {
        Columns { group, next, rows }
    }

    /// Reads a column of ids.
    pub fn ids(&mut self) -> ParquetResult<Vec<u128>> {
        self.column::<FixedLenByteArrayType>()?.into_iter().map(|id| id_of(required(id)?.data())).collect()
    }

    /// Reads a column of texts.
    pub fn texts(&mut self) -> ParquetResult<Vec<String>> {
        self.column::<ByteArrayType>()?.into_iter().map(|text| string(&required(text)?)).collect()
    }

    /// Reads a column that has a text in some rows.
    pub fn some_texts(&mut self) -> ParquetResult<Vec<Option<String>>> {
        self.column::<ByteArrayType>()?.iter().map(|text| text.as_ref().map(string).transpose()).collect()
    }

    /// Reads a column of whole numbers.
    pub fn numbers(&mut self) -> ParquetResult<Vec<u64>> {
        self.column::<Int64Type>()?.into_iter().map(|number| Ok(required(number)?.cast_unsigned())).collect()
    }

    /// Reads a column that has a real number in some rows.
    pub fn some_doubles(&mut self) -> ParquetResult<Vec<Option<f64>>> {
        self.column::<DoubleType>()
    }

    fn column<T: DataType>(&mut self) -> ParquetResult<Vec<Option<T::T>>> {
        let number = self.next;
        self.next += 1;
        Column::<T>::open(self.group, number)?.at(self.rows)
    }
}

fn bytes_of(text: String) -> ByteArray {
    ByteArray::from(text.into_bytes())
}

pub(super) fn required<T>(value: Option<T>) -> ParquetResult<T> {
    value.ok_or_else(|| no_sense("a value is missing"))
}

pub(super) fn id_of(bytes: &[u8]) -> ParquetResult<u128> {
    let bytes = bytes.try_into().map_err(|_| no_sense("an id has not 16 bytes"))?;
    Ok(u128::from_be_bytes(bytes))
}

pub(super) fn string(bytes: &ByteArray) -> ParquetResult<String> {
    String::from_utf8(bytes.data().to_vec()).map_err(|_| no_sense("a text is not UTF-8"))
}
