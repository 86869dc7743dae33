//! Documents between stages, as Parquet: the bytes of a file are a function of its documents alone.
//!
//! A row group has about 4 MiB of text. It is written, and read, as a whole, which bounds memory. Tokenizing reads the column
//! `text` as that of any other Parquet file.

use std::io::Write;
use std::mem::take;
use std::sync::Arc;

use common::storage::{Folder, Reader};
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, Int64Type};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, Type};

use super::object::Stored;
use crate::PrepareError;
use crate::inputs::RemoteFile;
use crate::panics::guarded;

/// Columns, in the order of the fields of [`Document`].
const COLUMNS: &str = "message documents {
    required fixed_len_byte_array(16) id;
    required byte_array source (string);
    required int64 at (integer(64, false));
    required int64 within (integer(64, false));
    optional byte_array url (string);
    optional byte_array title (string);
    optional byte_array date (string);
    required byte_array text (string);
}";
/// Column of the text, by name.
pub const TEXT_COLUMN: &str = "text";
/// Level of zstd. Fixed, as the bytes of a file depend on it.
const ZSTD_LEVEL: i32 = 3;
/// Bytes of texts at which a row group is written. Fixed, likewise.
const GROUP_BYTES: usize = 4 << 20;
/// Number of documents at which a row group is written. Fixed, likewise.
const GROUP_DOCUMENTS: usize = 1 << 14;
/// Bytes that are fetched at once.
const WINDOW_BYTES: u64 = 4 << 20;

/// A document on its way through the stages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// Id, which the document keeps through all stages.
    pub id: u128,
    /// URL of the object that the document comes from, without secrets.
    pub source: String,
    /// Place in that object, see [`Line::at`](super::lineage::Line::at).
    pub at: u64,
    /// Place in the member or frame, see [`Line::within`](super::lineage::Line::within).
    pub within: u64,
    /// Address of the page.
    pub url: Option<String>,
    /// Title of the page.
    pub title: Option<String>,
    /// Date of publication as the page states it, or else of its capture.
    pub date: Option<String>,
    /// Text.
    pub text: String,
}

impl Document {
    /// Returns the bytes that the document counts for the size of its row group.
    fn bytes(&self) -> usize {
        let optional = [&self.url, &self.title, &self.date].map(|text| text.as_ref().map_or(0, String::len));
        self.text.len() + self.source.len() + optional.iter().sum::<usize>()
    }
}

fn columns() -> ParquetResult<Arc<Type>> {
    parse_message_type(COLUMNS).map(Arc::new)
}

fn properties() -> ParquetResult<Arc<WriterProperties>> {
    let column = |name: &str| ColumnPath::from(name);
    let properties = WriterProperties::builder()
        .set_created_by("Convoy".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_dictionary_enabled(false)
        .set_column_dictionary_enabled(column("source"), true)
        .set_write_batch_size(16)
        .build();
    Ok(Arc::new(properties))
}

/// Writer of documents, in the order in which they come. Holds at most a row group.
///
/// Errors of `W` come back as [`ParquetError::External`].
pub struct DocumentWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    documents: Vec<Document>,
    bytes: usize,
}

impl<W: Write + Send> DocumentWriter<W> {
    /// Begins a file.
    pub fn new(to: W) -> ParquetResult<Self> {
        let file = SerializedFileWriter::new(to, columns()?, properties()?)?;
        Ok(DocumentWriter { file, documents: Vec::new(), bytes: 0 })
    }

    /// Appends a document.
    pub fn push(&mut self, document: Document) -> ParquetResult<()> {
        self.bytes += document.bytes();
        self.documents.push(document);
        match self.bytes >= GROUP_BYTES || self.documents.len() >= GROUP_DOCUMENTS {
            true => self.write_group(),
            false => Ok(()),
        }
    }

    /// Ends the file, and flushes it to the target. Give `&mut target` to [`new`](Self::new) to go on with the target.
    pub fn finish(mut self) -> ParquetResult<()> {
        if !self.documents.is_empty() {
            self.write_group()?;
        }
        self.file.finish().map(drop)
    }

    fn write_group(&mut self) -> ParquetResult<()> {
        let mut documents = take(&mut self.documents);
        self.bytes = 0;
        let mut group = self.file.next_row_group()?;
        let each = &mut documents;
        put::<FixedLenByteArrayType, W>(&mut group, each, |d| FixedLenByteArray::from(d.id.to_be_bytes().to_vec()))?;
        put::<ByteArrayType, W>(&mut group, each, |d| bytes_of(take(&mut d.source)))?;
        put::<Int64Type, W>(&mut group, each, |d| d.at.cast_signed())?;
        put::<Int64Type, W>(&mut group, each, |d| d.within.cast_signed())?;
        put_some(&mut group, each, |d| d.url.take())?;
        put_some(&mut group, each, |d| d.title.take())?;
        put_some(&mut group, each, |d| d.date.take())?;
        put::<ByteArrayType, W>(&mut group, each, |d| bytes_of(take(&mut d.text)))?;
        group.close().map(drop)
    }
}

/// Writes the next column, which has a value in every row.
fn put<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    documents: &mut [Document],
    value: impl Fn(&mut Document) -> T::T,
) -> ParquetResult<()> {
    let values: Vec<T::T> = documents.iter_mut().map(value).collect();
    put_values::<T, W>(group, &values, None)
}

/// Writes the next column, which has a text in some rows.
fn put_some<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    documents: &mut [Document],
    value: impl Fn(&mut Document) -> Option<String>,
) -> ParquetResult<()> {
    let values: Vec<Option<String>> = documents.iter_mut().map(value).collect();
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<ByteArray> = values.into_iter().flatten().map(bytes_of).collect();
    put_values::<ByteArrayType, W>(group, &values, Some(&levels))
}

fn put_values<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> ParquetResult<()> {
    let mut column = group.next_column()?.ok_or_else(|| no_sense("documents have fewer columns than fields"))?;
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()
}

fn bytes_of(text: String) -> ByteArray {
    ByteArray::from(text.into_bytes())
}

fn no_sense(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

/// Reader of documents, a row group at a time.
pub struct DocumentReader {
    folder: Folder,
    name: String,
    file: SerializedFileReader<RemoteFile>,
    next_group: usize,
}

impl DocumentReader {
    /// Opens the object `name` of a stage's folder, which was written as `stored`.
    pub fn open(folder: &Folder, name: &str, stored: &Stored) -> Result<Self, PrepareError> {
        let file = whole(folder, name, || {
            let file = SerializedFileReader::new(RemoteFile::new(folder, name, stored.bytes, WINDOW_BYTES))?;
            let (found, expected) = (file.metadata().file_metadata().schema_descr().root_schema(), columns()?);
            if found.get_fields() != expected.get_fields() {
                return Err(no_sense("it has other columns than documents of this version"));
            }
            file.metadata().row_groups().iter().try_for_each(|group| rows_of(group).map(drop))?;
            Ok(file)
        })?;
        Ok(DocumentReader { folder: folder.clone(), name: name.to_owned(), file, next_group: 0 })
    }

    /// Returns the number of row groups.
    pub fn groups(&self) -> u64 {
        self.file.num_row_groups() as u64
    }

    /// Returns the documents of the next row group; `None` after the last.
    pub fn next_group(&mut self) -> Result<Option<Vec<Document>>, PrepareError> {
        if self.next_group == self.file.num_row_groups() {
            return Ok(None);
        }
        let documents = whole(&self.folder, &self.name, || documents_of(&*self.file.get_row_group(self.next_group)?))?;
        self.next_group += 1;
        Ok(Some(documents))
    }
}

/// Returns the number of rows of a row group. It sizes memory, so a number that no writer of documents makes is an error.
fn rows_of(group: &RowGroupMetaData) -> ParquetResult<usize> {
    let rows = group.num_rows();
    usize::try_from(rows).ok().filter(|rows| *rows <= GROUP_DOCUMENTS).ok_or_else(|| {
        no_sense(&format!("a row group says that it has {rows} rows, expected at most {GROUP_DOCUMENTS}"))
    })
}

/// Reads a row group, a column after another.
fn documents_of(group: &dyn RowGroupReader) -> ParquetResult<Vec<Document>> {
    let rows = rows_of(group.metadata())?;
    let mut documents = vec![Document::default(); rows];
    let mut set = |column: usize, set: fn(&mut Document, String)| -> ParquetResult<()> {
        for (document, text) in documents.iter_mut().zip(texts(group, column, rows)?) {
            if let Some(text) = text {
                set(document, text);
            }
        }
        Ok(())
    };
    set(1, |document, text| document.source = text)?;
    set(4, |document, text| document.url = Some(text))?;
    set(5, |document, text| document.title = Some(text))?;
    set(6, |document, text| document.date = Some(text))?;
    set(7, |document, text| document.text = text)?;
    let ids = values::<FixedLenByteArrayType>(group, 0, rows)?.0;
    let (at, within) = (values::<Int64Type>(group, 2, rows)?.0, values::<Int64Type>(group, 3, rows)?.0);
    for (((document, id), at), within) in documents.iter_mut().zip(ids).zip(at).zip(within) {
        let id: [u8; 16] = id.data().try_into().map_err(|_| no_sense("an id has other than 16 bytes"))?;
        (document.id, document.at, document.within) =
            (u128::from_be_bytes(id), at.cast_unsigned(), within.cast_unsigned());
    }
    Ok(documents)
}

fn texts(group: &dyn RowGroupReader, column: usize, rows: usize) -> ParquetResult<Vec<Option<String>>> {
    let (values, levels) = values::<ByteArrayType>(group, column, rows)?;
    let text =
        |value: ByteArray| String::from_utf8(value.data().to_vec()).map_err(|_| no_sense("a text in it is not UTF-8"));
    let mut values = values.into_iter().map(text);
    if group.metadata().column(column).column_descr().max_def_level() == 0 {
        return values.map(|value| value.map(Some)).collect();
    }
    levels.iter().map(|level| if *level > 0 { values.next().transpose() } else { Ok(None) }).collect()
}

/// Reads a column of a row group: its values, and, if it is optional, a level for each row.
fn values<T: DataType>(group: &dyn RowGroupReader, column: usize, rows: usize) -> ParquetResult<(Vec<T::T>, Vec<i16>)> {
    let is_optional = group.metadata().column(column).column_descr().max_def_level() > 0;
    let mut reader = get_typed_column_reader::<T>(group.get_column_reader(column)?);
    let (mut values, mut levels, mut read) = (Vec::new(), Vec::new(), 0);
    while read < rows {
        let wanted = is_optional.then_some(&mut levels);
        let (records, _, _) = reader.read_records(rows - read, wanted, None, &mut values)?;
        if records == 0 {
            return Err(no_sense("it has fewer rows than it says"));
        }
        read += records;
    }
    Ok((values, levels))
}

/// Runs `read`. What cannot be read, other than for the store, is damaged: the bytes were Convoy's own.
fn whole<T>(folder: &Folder, name: &str, read: impl FnOnce() -> ParquetResult<T>) -> Result<T, PrepareError> {
    match guarded(read) {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(failure(folder, name, &error)),
        Err(panic) => Err(super::damaged(folder, name, format!("damaged: {panic}"))),
    }
}

/// Returns the error for the failure of the Parquet library to read or write the object `name`.
pub fn failure(folder: &Folder, name: &str, error: &ParquetError) -> PrepareError {
    match Reader::storage_error(error) {
        Some(error) => error.clone().into(),
        None => super::damaged(folder, name, format!("damaged: {error}")),
    }
}

#[cfg(test)]
mod tests;
