//! Writes lineage, a row group at a time.

use std::io::Write;
use std::mem::take;

use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int64Type,
};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::line::Line;
use super::schema::{GROUP_ROWS_MAX, columns, properties};

/// Size at which a row group is written, in bytes as [`size_of_line`] counts.
const GROUP_BYTES: usize = 8 << 20;
/// Bytes of a row beside its texts. Fixed, as the division into row groups depends on it.
const ROW_BYTES: usize = 128;

/// Writes lines in the order in which they come. Memory is bounded: a row group has at most 100,000 rows, and about 8 MiB.
///
/// Equal lines give equal bytes. Errors of `W` come back as [`ParquetError::External`].
pub struct LineageWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    lines: Vec<Line>,
    bytes: usize,
}

impl<W: Write + Send> LineageWriter<W> {
    /// Begins a file.
    pub fn new(to: W) -> ParquetResult<Self> {
        let file = SerializedFileWriter::new(to, columns()?, properties()?)?;
        Ok(LineageWriter { file, lines: Vec::new(), bytes: 0 })
    }

    /// Appends a line, with every text cut to its bound.
    pub fn push(&mut self, line: Line) -> ParquetResult<()> {
        let line = line.bounded();
        self.bytes += size_of_line(&line);
        self.lines.push(line);
        if self.lines.len() >= GROUP_ROWS_MAX || self.bytes >= GROUP_BYTES {
            self.write_group()?;
        }
        Ok(())
    }

    /// Ends the file, and flushes it to the target. Give `&mut target` to [`new`](Self::new) to go on with the target.
    pub fn finish(mut self) -> ParquetResult<()> {
        if !self.lines.is_empty() {
            self.write_group()?;
        }
        self.file.finish().map(drop)
    }

    fn write_group(&mut self) -> ParquetResult<()> {
        let lines = take(&mut self.lines);
        self.bytes = 0;
        let mut group = Group { group: self.file.next_row_group()?, lines: &lines };
        group.put::<FixedLenByteArrayType>(|line| FixedLenByteArray::from(line.id.to_be_bytes().to_vec()))?;
        group.put::<ByteArrayType>(|line| bytes_of(&line.source))?;
        group.put::<Int64Type>(|line| line.at.cast_signed())?;
        group.put::<Int64Type>(|line| line.within.cast_signed())?;
        group.put_some::<ByteArrayType>(|line| line.url.as_deref().map(bytes_of))?;
        group.put_some::<ByteArrayType>(|line| line.date.as_deref().map(bytes_of))?;
        group.put::<ByteArrayType>(|line| bytes_of(line.verdict.name()))?;
        group.put::<ByteArrayType>(|line| bytes_of(&line.rule))?;
        group.put_some::<DoubleType>(|line| line.measure)?;
        group.put_some::<DoubleType>(|line| line.limit)?;
        group.put::<Int64Type>(|line| line.bytes_in.cast_signed())?;
        group.put::<Int64Type>(|line| line.bytes_out.cast_signed())?;
        group.put::<ByteArrayType>(|line| bytes_of(&line.note))?;
        group.group.close().map(drop)
    }
}

/// A row group that is being written, a column after another.
struct Group<'w, 'l, W: Write + Send> {
    group: SerializedRowGroupWriter<'w, W>,
    lines: &'l [Line],
}

impl<W: Write + Send> Group<'_, '_, W> {
    /// Writes the next column, which has a value in every row.
    fn put<T: DataType>(&mut self, value: impl Fn(&Line) -> T::T) -> ParquetResult<()> {
        let values: Vec<T::T> = self.lines.iter().map(value).collect();
        self.put_values::<T>(&values, None)
    }

    /// Writes the next column, which has a value in some rows.
    fn put_some<T: DataType>(&mut self, value: impl Fn(&Line) -> Option<T::T>) -> ParquetResult<()> {
        let values: Vec<Option<T::T>> = self.lines.iter().map(value).collect();
        let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
        let values: Vec<T::T> = values.into_iter().flatten().collect();
        self.put_values::<T>(&values, Some(&levels))
    }

    fn put_values<T: DataType>(&mut self, values: &[T::T], levels: Option<&[i16]>) -> ParquetResult<()> {
        let missing = || ParquetError::General("lineage has fewer columns than a line has fields".into());
        let mut column = self.group.next_column()?.ok_or_else(missing)?;
        column.typed::<T>().write_batch(values, levels, None)?;
        column.close()
    }
}

/// Returns the bytes that a line counts for the size of its row group.
fn size_of_line(line: &Line) -> usize {
    let texts = [&line.source, &line.rule, &line.note].map(String::len).iter().sum::<usize>();
    let optional = [&line.url, &line.date].map(|text| text.as_ref().map_or(0, String::len));
    ROW_BYTES + texts + optional.iter().sum::<usize>()
}

fn bytes_of(text: &str) -> ByteArray {
    ByteArray::from(text.as_bytes().to_vec())
}
