//! Finds rows of lineage. Only the column that is searched is read in full; the others, at the rows that were found.

use common::storage::Folder;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, FixedLenByteArrayType, Int64Type};
use parquet::errors::Result as ParquetResult;
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;

use super::column::{Column, no_sense, rows_of, whole};
use super::line::Line;
use super::schema::{ID, URL, columns};
use super::units::UnitFile;
use crate::PrepareError;
use crate::inputs::RemoteFile;

/// Bytes that are fetched at once: about a column of a row group.
const WINDOW_BYTES: u64 = 256 << 10;

/// Lines that were found.
#[derive(Debug, Default, PartialEq)]
pub struct Hits {
    /// The first of them, as many as were asked for.
    pub lines: Vec<Line>,
    /// Number of all of them.
    pub count: u64,
}

/// A lineage file that is open for reading.
pub struct LineageFile {
    /// URL, for errors.
    url: String,
    file: SerializedFileReader<RemoteFile>,
}

impl LineageFile {
    /// Opens a lineage file in a stage's folder. Reads its footer alone.
    pub fn open(folder: &Folder, unit: &UnitFile) -> Result<Self, PrepareError> {
        let url = folder.url_of(&unit.name);
        let open = || {
            let properties = ReaderProperties::builder().set_read_bloom_filter(true).build();
            let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
            let remote = RemoteFile::new(folder, &unit.name, unit.bytes, WINDOW_BYTES);
            let file = SerializedFileReader::new_with_options(remote, options)?;
            let (found, expected) = (file.metadata().file_metadata().schema_descr().root_schema(), columns()?);
            match found.get_fields() == expected.get_fields() {
                true => Ok(file),
                false => Err(no_sense("it has other columns than lineage of this version")),
            }
        };
        let file = whole(&url, open)?;
        Ok(LineageFile { url, file })
    }

    /// Returns all lines, in their order. Takes memory for all.
    pub fn lines(&self) -> Result<Vec<Line>, PrepareError> {
        whole(&self.url, || {
            let mut lines = Vec::new();
            for number in 0..self.file.num_row_groups() {
                let group = self.file.get_row_group(number)?;
                let rows: Vec<usize> = (0..rows_of(&*group)?).collect();
                lines.extend(lines_at(&*group, &rows)?);
            }
            Ok(lines)
        })
    }

    /// Finds the lines with this id, and reads at most `most` of them.
    pub fn with_id(&self, id: u128, most: usize) -> Result<Hits, PrepareError> {
        let bytes = id.to_be_bytes();
        self.find(most, |group, hit| match group.get_column_bloom_filter(ID) {
            Some(filter) if !filter.check(&bytes[..]) => Ok(()),
            _ => each_id(group, |row, found| {
                if found == id {
                    hit(row);
                }
            }),
        })
    }

    /// Finds the lines whose id fulfils `matches`, and reads at most `most` of them.
    pub fn where_id(&self, matches: impl Fn(u128) -> bool, most: usize) -> Result<Hits, PrepareError> {
        self.find(most, |group, hit| {
            each_id(group, |row, found| {
                if matches(found) {
                    hit(row);
                }
            })
        })
    }

    /// Finds the lines whose URL fulfils `matches`, and reads at most `most` of them.
    pub fn where_url(&self, matches: impl Fn(&str) -> bool, most: usize) -> Result<Hits, PrepareError> {
        self.find(most, |group, hit| {
            Column::<ByteArrayType>::open(group, URL)?.each(|row, url| {
                if url.map(text).transpose()?.is_some_and(|url| matches(&url)) {
                    hit(row);
                }
                Ok(())
            })
        })
    }

    /// Finds the rows that `search` hits in each row group, and reads the first of them, at most `most`. Other rows take no memory.
    fn find(
        &self,
        most: usize,
        search: impl Fn(&dyn RowGroupReader, &mut dyn FnMut(usize)) -> ParquetResult<()>,
    ) -> Result<Hits, PrepareError> {
        whole(&self.url, || {
            let mut hits = Hits::default();
            for number in 0..self.file.num_row_groups() {
                let group = self.file.get_row_group(number)?;
                let (mut rows, wanted) = (Vec::new(), most - hits.lines.len());
                search(&*group, &mut |row| {
                    hits.count += 1;
                    if rows.len() < wanted {
                        rows.push(row);
                    }
                })?;
                if !rows.is_empty() {
                    hits.lines.extend(lines_at(&*group, &rows)?);
                }
            }
            Ok(hits)
        })
    }
}

/// Calls `each` with the number and the id of every row.
fn each_id(group: &dyn RowGroupReader, mut each: impl FnMut(usize, u128)) -> ParquetResult<()> {
    Column::<FixedLenByteArrayType>::open(group, ID)?.each(|row, id| {
        each(row, id_of(required(id)?.data())?);
        Ok(())
    })
}

fn id_of(bytes: &[u8]) -> ParquetResult<u128> {
    let bytes = bytes.try_into().map_err(|_| no_sense("an id has not 16 bytes"))?;
    Ok(u128::from_be_bytes(bytes))
}

/// Returns the lines of `rows` of a row group, which ascend. Each column is read once.
fn lines_at(group: &dyn RowGroupReader, rows: &[usize]) -> ParquetResult<Vec<Line>> {
    let mut next = 0..;
    let mut column = || next.next().unwrap_or(usize::MAX);
    let mut ids = Column::<FixedLenByteArrayType>::open(group, column())?.at(rows)?;
    let mut sources = Column::<ByteArrayType>::open(group, column())?.at(rows)?;
    let mut at = Column::<Int64Type>::open(group, column())?.at(rows)?;
    let mut within = Column::<Int64Type>::open(group, column())?.at(rows)?;
    let mut urls = Column::<ByteArrayType>::open(group, column())?.at(rows)?;
    let mut dates = Column::<ByteArrayType>::open(group, column())?.at(rows)?;
    let mut verdicts = Column::<ByteArrayType>::open(group, column())?.at(rows)?;
    let mut rules = Column::<ByteArrayType>::open(group, column())?.at(rows)?;
    let mut measures = Column::<DoubleType>::open(group, column())?.at(rows)?;
    let mut limits = Column::<DoubleType>::open(group, column())?.at(rows)?;
    let mut bytes_in = Column::<Int64Type>::open(group, column())?.at(rows)?;
    let mut bytes_out = Column::<Int64Type>::open(group, column())?.at(rows)?;
    let mut notes = Column::<ByteArrayType>::open(group, column())?.at(rows)?;
    let line = |row: usize| {
        Ok(Line {
            id: id_of(required(ids[row].take())?.data())?,
            source: text(required(sources[row].take())?)?,
            at: required(at[row].take())?.cast_unsigned(),
            within: required(within[row].take())?.cast_unsigned(),
            url: urls[row].take().map(text).transpose()?,
            date: dates[row].take().map(text).transpose()?,
            verdict: text(required(verdicts[row].take())?)?.parse().map_err(no_sense)?,
            rule: text(required(rules[row].take())?)?,
            measure: measures[row].take(),
            limit: limits[row].take(),
            bytes_in: required(bytes_in[row].take())?.cast_unsigned(),
            bytes_out: required(bytes_out[row].take())?.cast_unsigned(),
            note: text(required(notes[row].take())?)?,
        })
    };
    (0..rows.len()).map(line).collect()
}

fn required<T>(value: Option<T>) -> ParquetResult<T> {
    value.ok_or_else(|| no_sense("a value is missing"))
}

fn text(bytes: ByteArray) -> ParquetResult<String> {
    String::from_utf8(bytes.data().to_vec()).map_err(|_| no_sense("a text is not UTF-8"))
}
