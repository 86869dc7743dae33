//! Documents between stages, as Parquet: the bytes of a file are a function of its documents alone.
//!
//! A row group has about 4 MiB of text. It is written, and read, as a whole, which bounds memory. Tokenizing reads the column
//! `text` as that of any other Parquet file.

use std::io::Write;
use std::mem::take;

use common::storage::Folder;
use parquet::errors::Result as ParquetResult;
use parquet::file::properties::WriterPropertiesBuilder;
use parquet::schema::types::ColumnPath;

use super::lineage::{Line, Verdict};
use super::object::Stored;
use super::parquet::{Columns, GroupWriter, Row, RowFile, RowWriter};
use crate::PrepareError;

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
/// Number of the column of titles.
pub(super) const TITLE: usize = 5;
/// Bytes of texts at which a row group is written. Fixed, as the bytes of a file depend on it.
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
    /// Returns the line of the document where it is kept as it is.
    pub fn line(&self) -> Line {
        let bytes = self.text.len() as u64;
        Line {
            id: self.id,
            source: self.source.clone(),
            at: self.at,
            within: self.within,
            url: self.url.clone(),
            date: self.date.clone(),
            verdict: Verdict::Kept,
            rule: String::new(),
            measure: None,
            limit: None,
            bytes_in: bytes,
            bytes_out: bytes,
            note: String::new(),
        }
    }
}

/// Writer of documents.
pub type DocumentWriter<W> = RowWriter<Document, W>;

impl Row for Document {
    const NAME: &'static str = "documents";
    const COLUMNS: &'static str = COLUMNS;
    const GROUP_ROWS: usize = GROUP_DOCUMENTS;
    const GROUP_BYTES: usize = GROUP_BYTES;

    fn properties(common: WriterPropertiesBuilder) -> WriterPropertiesBuilder {
        common
            .set_dictionary_enabled(false)
            .set_column_dictionary_enabled(ColumnPath::from("source"), true)
            .set_write_batch_size(16)
    }

    fn bytes(&self) -> usize {
        let optional = [&self.url, &self.title, &self.date].map(|text| text.as_ref().map_or(0, String::len));
        self.text.len() + self.source.len() + optional.iter().sum::<usize>()
    }

    fn write<W: Write + Send>(mut rows: Vec<Self>, group: &mut GroupWriter<'_, W>) -> ParquetResult<()> {
        group.ids(rows.iter().map(|row| row.id))?;
        group.texts(rows.iter_mut().map(|row| take(&mut row.source)))?;
        group.numbers(rows.iter().map(|row| row.at))?;
        group.numbers(rows.iter().map(|row| row.within))?;
        group.some_texts(rows.iter_mut().map(|row| row.url.take()))?;
        group.some_texts(rows.iter_mut().map(|row| row.title.take()))?;
        group.some_texts(rows.iter_mut().map(|row| row.date.take()))?;
        group.texts(rows.iter_mut().map(|row| take(&mut row.text)))
    }

    fn read(columns: &mut Columns<'_>) -> ParquetResult<Vec<Self>> {
        let (ids, mut sources) = (columns.ids()?, columns.texts()?);
        let (at, within) = (columns.numbers()?, columns.numbers()?);
        let (mut urls, mut titles, mut dates) = (columns.some_texts()?, columns.some_texts()?, columns.some_texts()?);
        let mut texts = columns.texts()?;
        let document = |row: usize| Document {
            id: ids[row],
            source: take(&mut sources[row]),
            at: at[row],
            within: within[row],
            url: urls[row].take(),
            title: titles[row].take(),
            date: dates[row].take(),
            text: take(&mut texts[row]),
        };
        Ok((0..ids.len()).map(document).collect())
    }

    fn damaged(folder: &Folder, name: &str, reason: String) -> PrepareError {
        super::damaged(folder, name, format!("damaged: {reason}"))
    }
}

/// Reader of documents, a row group at a time.
pub struct DocumentReader {
    file: RowFile<Document>,
    next_group: usize,
}

impl DocumentReader {
    /// Opens the object `name` of a stage's folder, which was written as `stored`.
    pub fn open(folder: &Folder, name: &str, stored: &Stored) -> Result<Self, PrepareError> {
        Ok(DocumentReader { file: RowFile::open(folder, (name, stored.bytes), WINDOW_BYTES)?, next_group: 0 })
    }

    /// Returns the number of row groups.
    pub fn groups(&self) -> u64 {
        self.file.groups() as u64
    }

    /// Returns the documents of the next row group; `None` after the last.
    pub fn next_group(&mut self) -> Result<Option<Vec<Document>>, PrepareError> {
        if self.next_group == self.file.groups() {
            return Ok(None);
        }
        let documents = self.file.group(self.next_group, |group| group.all())?;
        self.next_group += 1;
        Ok(Some(documents))
    }
}
