//! Reads Parquet: columns of the row groups that begin in a part of the file, a page at a time.

use std::ops::Range;

use parquet::basic::{ConvertedType, LogicalType, Repetition, Type};
use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::{SchemaDescriptor, Type as SchemaType};

use super::fault::{Fault, Place};
use super::reading::{Failure, Next, ReadOptions, too_long};
use super::remote::RemoteFile;
use super::source::Source;
use crate::panics::guarded;

/// Bytes of the column of the text that are fetched at once.
const WINDOW_BYTES: u64 = 4 << 20;
/// Bytes of a column beside it that are fetched at once.
const WINDOW_BYTES_BESIDE: u64 = 256 << 10;
/// Number of values that are decoded at once; a page holds them in memory anyway.
const ROWS_AT_ONCE: usize = 64;

/// Reader of rows in order.
pub(super) struct Rows {
    text: Strings,
    /// Columns beside the text, in the order in which they were asked for; `None` where the file has no such column of strings.
    beside: Vec<Option<Strings>>,
    /// Row groups to read, the next one last.
    groups: Vec<Group>,
    /// Number of rows of the current group that have not been decoded.
    rows_left: u64,
    /// Number of the row after the last one that was decoded.
    row: u64,
    text_field: String,
    most: usize,
}

/// A row group to read.
struct Group {
    number: usize,
    rows_before: u64,
    rows: u64,
}

impl Rows {
    /// Opens the row groups of `source` whose first page is in `range`. Beside the text, the strings in the columns of the names
    /// `beside` are read.
    pub fn open(source: &Source, range: Range<u64>, options: &ReadOptions, beside: &[&str]) -> Result<Self, Failure> {
        damage_if_it_panics(|| Self::open_unguarded(source, range, options, beside))
    }

    fn open_unguarded(
        source: &Source,
        range: Range<u64>,
        options: &ReadOptions,
        beside: &[&str],
    ) -> Result<Self, Failure> {
        let text = Strings::open(source, &options.text_field, WINDOW_BYTES)?;
        let metadata = text.file.metadata();
        let schema = metadata.file_metadata().schema_descr();
        let beside = beside.iter().map(|name| match place_of(schema, name) {
            Ok(_) => Strings::open(source, name, WINDOW_BYTES_BESIDE).map(Some),
            Err(_) => Ok(None),
        });
        let beside = beside.collect::<Result<Vec<_>, _>>()?;
        let mut rows_before = 0;
        let mut groups = Vec::new();
        for (number, group) in metadata.row_groups().iter().enumerate() {
            let rows = u64::try_from(group.num_rows()).map_err(|_| no_sense("a number of rows"))?;
            let first = first_byte(group).filter(|first| *first < source.bytes);
            if range.contains(&first.ok_or_else(|| no_sense("the place of a row group"))?) {
                groups.push(Group { number, rows_before, rows });
            }
            rows_before = rows.checked_add(rows_before).ok_or_else(|| no_sense("a number of rows"))?;
        }
        groups.reverse();
        let (text_field, most) = (options.text_field.clone(), options.document_bytes_max);
        Ok(Rows { text, beside, groups, rows_left: 0, row: 0, text_field, most })
    }

    /// Appends the next row's text to `content`.
    pub fn next(&mut self, content: &mut Vec<u8>) -> Result<Next, Failure> {
        while self.text.values.is_empty() {
            if !damage_if_it_panics(|| self.decode_more())? {
                return Ok(Next::End);
            }
        }
        let row = self.row - self.text.values.len() as u64;
        let Some(value) = self.text.values.pop() else { return Ok(Next::Nothing) };
        let most = self.most;
        let beside = self.beside.iter_mut().map(|column| column.as_mut()?.pop_string(most)).collect();
        let (position, place) = (row, Place::Row(row + 1));
        let bad = |fault, reason| Ok(Next::Bad { position, place, fault, reason });
        match value {
            None => bad(Fault::NoText, format!("the column {:?} is null", self.text_field)),
            Some(text) if text.len() > most => bad(Fault::TooLong, too_long(most as u64)),
            Some(text) => {
                content.extend_from_slice(text.data());
                Ok(Next::Document { position, place, is_json: false, beside })
            }
        }
    }

    /// Decodes some rows, or moves to the next row group. Returns false after the last one.
    fn decode_more(&mut self) -> Result<bool, Failure> {
        if self.text.reader.is_none() {
            let Some(Group { number, rows_before, rows }) = self.groups.pop() else { return Ok(false) };
            (self.row, self.rows_left) = (rows_before, rows);
            self.text.begin(number)?;
            self.beside.iter_mut().flatten().try_for_each(|column| column.begin(number))?;
            return Ok(true);
        }
        let rows = self.text.decode(ROWS_AT_ONCE)?;
        if rows == 0 {
            if self.rows_left > 0 {
                return Err(no_sense("a number of rows"));
            }
            self.text.reader = None;
            return Ok(true);
        }
        self.rows_left = self.rows_left.checked_sub(rows as u64).ok_or_else(|| no_sense("a number of rows"))?;
        self.row += rows as u64;
        for column in self.beside.iter_mut().flatten() {
            if column.decode(rows)? != rows {
                return Err(no_sense("a number of rows"));
            }
        }
        Ok(true)
    }
}

/// A column of strings. It is read through a window of its own: pages of several columns are far from each other.
struct Strings {
    file: SerializedFileReader<RemoteFile>,
    column: usize,
    is_optional: bool,
    /// Reader of the current row group.
    reader: Option<parquet::column::reader::ColumnReaderImpl<ByteArrayType>>,
    /// Decoded rows, the next one last; `None` where the string is null.
    values: Vec<Option<ByteArray>>,
}

impl Strings {
    /// Opens the column `name` of `source`, of which this number of bytes is fetched at once.
    fn open(source: &Source, name: &str, window_bytes: u64) -> Result<Self, Failure> {
        let file =
            SerializedFileReader::new(RemoteFile::new(&source.folder, &source.name, source.bytes, window_bytes))?;
        let schema = file.metadata().file_metadata().schema_descr();
        let column = place_of(schema, name)?;
        let is_optional = schema.column(column).max_def_level() > 0;
        Ok(Strings { file, column, is_optional, reader: None, values: Vec::new() })
    }

    /// Begins the row group `number`.
    fn begin(&mut self, number: usize) -> Result<(), Failure> {
        self.reader = match self.file.get_row_group(number)?.get_column_reader(self.column)? {
            ColumnReader::ByteArrayColumnReader(reader) => Some(reader),
            _ => return Err(Failure::unreadable("its schema and its pages contradict each other".into())),
        };
        Ok(())
    }

    /// Decodes at most `most` rows. Returns their number, which is 0 at the end of the row group.
    fn decode(&mut self, most: usize) -> Result<usize, Failure> {
        let Some(reader) = &mut self.reader else { return Ok(0) };
        let (mut levels, mut strings) = (Vec::new(), Vec::new());
        let levels_wanted = self.is_optional.then_some(&mut levels);
        let (rows, _, _) = reader.read_records(most, levels_wanted, None, &mut strings)?;
        let mut strings = strings.into_iter();
        self.values = match self.is_optional {
            true => levels.iter().map(|level| if *level > 0 { strings.next() } else { None }).collect(),
            false => strings.map(Some).collect(),
        };
        self.values.reverse();
        Ok(rows)
    }

    /// Returns the next string; `None` where it is null, not UTF-8, or longer than `most` bytes.
    fn pop_string(&mut self, most: usize) -> Option<String> {
        let string = self.values.pop().flatten().filter(|string| string.len() <= most)?;
        String::from_utf8(string.data().to_vec()).ok()
    }
}

/// Returns the number of the column of strings `name`.
fn place_of(schema: &SchemaDescriptor, name: &str) -> Result<usize, Failure> {
    let no_text = |reason: String| Failure::Object { fault: Fault::NoText, reason };
    let field = schema.root_schema().get_fields().iter().find(|field| field.name() == name);
    let field = field.ok_or_else(|| no_text(format!("no column {name:?} (prepare.text_field names another)")))?;
    if let Some(kind) = no_strings(field) {
        return Err(no_text(format!(
            "the column {name:?} holds {kind}, not strings (prepare.text_field names another)"
        )));
    }
    let column = schema.columns().iter().position(|column| column.path().parts() == [name.to_owned()]);
    column.ok_or_else(|| no_sense("its schema"))
}

/// Describes what a column holds instead of strings; `None` where it holds strings.
fn no_strings(field: &SchemaType) -> Option<String> {
    let info = field.get_basic_info();
    let is_repeated = info.has_repetition() && info.repetition() == Repetition::REPEATED;
    let logical = info.logical_type_ref();
    match info.converted_type() {
        ConvertedType::LIST => return Some("lists".into()),
        ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE => return Some("maps".into()),
        _ if is_repeated || matches!(logical, Some(LogicalType::List)) => return Some("lists".into()),
        _ if matches!(logical, Some(LogicalType::Map)) => return Some("maps".into()),
        _ => {}
    }
    if field.is_group() {
        let names: Vec<&str> = field.get_fields().iter().map(|field| field.name()).collect();
        return Some(format!("structs of {}", names.join(", ")));
    }
    let physical = field.get_physical_type();
    (physical != Type::BYTE_ARRAY).then(|| format!("values of type {physical}"))
}

/// Returns the byte at which a row group begins in its file; `None` where the file makes no sense.
fn first_byte(group: &RowGroupMetaData) -> Option<u64> {
    let firsts = group.columns().iter().map(|column| {
        let pages = [Some(column.data_page_offset()), column.dictionary_page_offset()];
        pages.into_iter().flatten().map(u64::try_from).collect::<Result<Vec<_>, _>>().ok()?.into_iter().min()
    });
    firsts.collect::<Option<Vec<_>>>()?.into_iter().min()
}

fn no_sense(what: &str) -> Failure {
    Failure::unreadable(format!("damaged: {what} in it makes no sense"))
}

/// Runs `read`, and reports a panic as damage: the Parquet library trusts some of what files say, and panics where that is
/// wrong.
fn damage_if_it_panics<T>(read: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    guarded(read).unwrap_or_else(|panic| Err(Failure::unreadable(format!("damaged: {panic}"))))
}
