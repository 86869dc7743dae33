//! A column of strings in a Parquet file.

use parquet::basic::{ConvertedType, LogicalType, Repetition, Type};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::{SchemaDescriptor, Type as SchemaType};

use super::fault::Fault;
use super::pages::Pages;
use super::reading::{Failure, no_sense};
use super::remote::RemoteFile;
use super::source::Source;

/// A column of strings. It is read through a window of its own: pages of several columns are far from each other.
pub(super) struct Strings {
    file: SerializedFileReader<RemoteFile>,
    remote: RemoteFile,
    column: usize,
    is_optional: bool,
    /// Reader of the current row group.
    reader: Option<ColumnReaderImpl<ByteArrayType>>,
    /// Decoded rows, the next one last; `None` where the string is null.
    values: Vec<Option<ByteArray>>,
}

impl Strings {
    /// Opens the column `name` of `source`, of which this number of bytes is fetched at once.
    pub fn open(source: &Source, name: &str, window_bytes: u64) -> Result<Self, Failure> {
        let remote = RemoteFile::new(&source.folder, &source.name, source.bytes, window_bytes);
        let file = SerializedFileReader::new(remote.clone())?;
        let schema = file.metadata().file_metadata().schema_descr();
        let column = place_of(schema, name)?;
        let is_optional = schema.column(column).max_def_level() > 0;
        Ok(Strings { file, remote, column, is_optional, reader: None, values: Vec::new() })
    }

    /// Returns the file's footer.
    pub fn metadata(&self) -> &ParquetMetaData {
        self.file.metadata()
    }

    /// Begins the row group `number`.
    pub fn begin(&mut self, number: usize) -> Result<(), Failure> {
        let group = self.file.metadata().row_group(number);
        let column = group.column(self.column);
        let rows = usize::try_from(group.num_rows()).map_err(|_| no_sense("a number of rows"))?;
        let pages = Pages::open(&self.remote, column, rows)?;
        self.reader = Some(ColumnReaderImpl::new(column.column_descr_ptr(), Box::new(pages)));
        Ok(())
    }

    /// Whether a row group has begun and not ended.
    pub fn is_open(&self) -> bool {
        self.reader.is_some()
    }

    /// Ends the current row group. Its rows that have not been taken are dropped.
    pub fn end(&mut self) {
        self.reader = None;
        self.values.clear();
    }

    /// Decodes at most `most` rows. Returns their number, which is 0 at the end of the row group.
    pub fn decode(&mut self, most: usize) -> Result<usize, Failure> {
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

    /// Returns the number of decoded rows that have not been taken.
    pub fn decoded(&self) -> usize {
        self.values.len()
    }

    /// Takes the next decoded row, which is `None` where the string is null.
    pub fn pop(&mut self) -> Option<Option<ByteArray>> {
        self.values.pop()
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

/// Returns whether there is a column of strings `name`.
pub(super) fn has_strings(schema: &SchemaDescriptor, name: &str) -> bool {
    place_of(schema, name).is_ok()
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
