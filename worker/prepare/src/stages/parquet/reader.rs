//! Reads row groups, or some of their rows. Of the columns that are not asked for, nothing is read.

use std::marker::PhantomData;

use common::storage::{Folder, Reader};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::PageReader;
use parquet::data_type::{ByteArrayType, FixedLenByteArrayType};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;

use super::column::Column;
use super::damage::no_sense;
use super::group::{Columns, id_of, required, string};
use super::row::{ID, Row, columns};
use crate::PrepareError;
use crate::inputs::{Pages, RemoteFile};
use crate::panics::guarded;

/// A file of rows that is open for reading.
pub struct RowFile<R> {
    folder: Folder,
    name: String,
    file: SerializedFileReader<RemoteFile>,
    remote: RemoteFile,
    kind: PhantomData<R>,
}

impl<R: Row> RowFile<R> {
    /// Opens the object `name` of `folder`, which has this number of `bytes`. Reads its footer alone. At least `window_bytes`
    /// are fetched at once.
    pub fn open(folder: &Folder, (name, bytes): (&str, u64), window_bytes: u64) -> Result<Self, PrepareError> {
        let remote = RemoteFile::new(folder, name, bytes, window_bytes);
        let file = whole::<R, _>(folder, name, || {
            let properties = ReaderProperties::builder().set_read_bloom_filter(true).build();
            let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
            let file = SerializedFileReader::new_with_options(remote.clone(), options)?;
            check::<R>(file.metadata())?;
            Ok(file)
        })?;
        Ok(RowFile { folder: folder.clone(), name: name.to_owned(), file, remote, kind: PhantomData })
    }

    /// Returns the number of row groups.
    pub fn groups(&self) -> usize {
        self.file.num_row_groups()
    }

    /// Runs `read` on the row group `number`. What cannot be read is an error that names the file.
    pub fn group<T>(
        &self,
        number: usize,
        read: impl FnOnce(&Group<'_, R>) -> ParquetResult<T>,
    ) -> Result<T, PrepareError> {
        whole::<R, T>(&self.folder, &self.name, || {
            let group = self.file.get_row_group(number)?;
            let rows = rows_of::<R>(group.metadata())?;
            let reader = CheckedGroup { group, rows, remote: &self.remote };
            read(&Group { reader, rows, kind: PhantomData })
        })
    }

    /// Returns the error for a file that contradicts what else is known.
    pub fn damaged(&self, reason: String) -> PrepareError {
        R::damaged(&self.folder, &self.name, reason)
    }
}

/// Checks that a file has the columns of `R`, and that every number in its footer that sizes memory is one that a writer makes.
fn check<R: Row>(metadata: &ParquetMetaData) -> ParquetResult<()> {
    let (found, expected) = (metadata.file_metadata().schema_descr().root_schema(), columns::<R>()?);
    if found.get_fields() != expected.get_fields() {
        return Err(no_sense(format!("it has other columns than {} of this version", R::NAME)));
    }
    metadata.row_groups().iter().try_for_each(|group| rows_of::<R>(group).map(drop))
}

/// Returns the number of rows of a row group.
fn rows_of<R: Row>(group: &RowGroupMetaData) -> ParquetResult<usize> {
    let (rows, most) = (group.num_rows(), R::GROUP_ROWS);
    let refused = || no_sense(format!("a row group says that it has {rows} rows, expected at most {most}"));
    usize::try_from(rows).ok().filter(|rows| *rows <= most).ok_or_else(refused)
}

/// A row group whose pages are checked before memory is taken for them.
struct CheckedGroup<'f> {
    group: Box<dyn RowGroupReader + 'f>,
    rows: usize,
    remote: &'f RemoteFile,
}

impl RowGroupReader for CheckedGroup<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.group.metadata()
    }

    fn num_columns(&self) -> usize {
        self.group.num_columns()
    }

    fn get_column_page_reader(&self, number: usize) -> ParquetResult<Box<dyn PageReader>> {
        Ok(Box::new(Pages::open(self.remote, self.metadata().column(number), self.rows)?))
    }

    fn get_column_bloom_filter(&self, number: usize) -> Option<&Sbbf> {
        self.group.get_column_bloom_filter(number)
    }

    fn get_row_iter(&self, columns: Option<Type>) -> ParquetResult<RowIter<'_>> {
        self.group.get_row_iter(columns)
    }
}

/// A row group.
pub struct Group<'f, R> {
    reader: CheckedGroup<'f>,
    rows: usize,
    kind: PhantomData<R>,
}

impl<R: Row> Group<'_, R> {
    /// Returns all rows.
    pub fn all(&self) -> ParquetResult<Vec<R>> {
        self.at(&(0..self.rows).collect::<Vec<usize>>())
    }

    /// Returns these rows, whose numbers ascend. Each column is read once.
    pub fn at(&self, rows: &[usize]) -> ParquetResult<Vec<R>> {
        R::read(&mut self.columns(ID, rows))
    }

    /// Returns the columns from the number `first` on, at these rows, whose numbers ascend.
    pub fn columns<'r>(&'r self, first: usize, rows: &'r [usize]) -> Columns<'r> {
        Columns::new(&self.reader, first, rows)
    }

    /// Returns whether a row may have this id: without reading any, where the file has a filter of its ids.
    pub fn may_have(&self, id: u128) -> bool {
        self.reader.get_column_bloom_filter(ID).is_none_or(|filter| filter.check(&id.to_be_bytes()[..]))
    }

    /// Calls `each` with the number and the id of every row.
    pub fn each_id(&self, mut each: impl FnMut(usize, u128)) -> ParquetResult<()> {
        Column::<FixedLenByteArrayType>::open(&self.reader, ID)?.each(self.rows, |row, id| {
            each(row, id_of(required(id)?.data())?);
            Ok(())
        })
    }

    /// Calls `each` with the number and the text of every row that has one in the column `number`.
    pub fn each_text(&self, number: usize, mut each: impl FnMut(usize, &str)) -> ParquetResult<()> {
        Column::<ByteArrayType>::open(&self.reader, number)?.each(self.rows, |row, text| {
            if let Some(text) = text {
                each(row, &string(&text)?);
            }
            Ok(())
        })
    }
}

/// Runs `read` on the object `name` of `folder`, which holds rows of kind `R`. What cannot be read, other than for the store, is
/// damaged: the bytes were Convoy's own.
fn whole<R: Row, T>(folder: &Folder, name: &str, read: impl FnOnce() -> ParquetResult<T>) -> Result<T, PrepareError> {
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
