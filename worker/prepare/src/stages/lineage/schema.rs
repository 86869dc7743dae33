//! Lineage as Parquet: its columns, and how they are stored.

use std::io::Write;
use std::mem::take;

use common::storage::Folder;
use parquet::basic::{Compression, Encoding};
use parquet::errors::Result as ParquetResult;
use parquet::file::properties::WriterPropertiesBuilder;
use parquet::schema::types::ColumnPath;

use super::line::Line;
use crate::PrepareError;
use crate::stages::parquet::{Columns, GroupWriter, Row, no_sense};

/// Columns, in the order of the fields of [`Line`].
const COLUMNS: &str = "message lineage {
    required fixed_len_byte_array(16) id;
    required byte_array source (string);
    required int64 at (integer(64, false));
    required int64 within (integer(64, false));
    optional byte_array url (string);
    optional byte_array date (string);
    required byte_array verdict (string);
    required byte_array rule (string);
    optional double measure;
    optional double limit;
    required int64 bytes_in (integer(64, false));
    required int64 bytes_out (integer(64, false));
    required byte_array note (string);
}";

/// Number of the column of URLs.
pub(super) const URL: usize = 4;

/// Most rows of a row group, by which the filter of ids is laid out; it is folded to the rows that there are.
const GROUP_ROWS_MAX: usize = 100_000;
/// Bytes of a row beside its texts. Fixed, as the division into row groups depends on it.
const ROW_BYTES: usize = 128;

impl Row for Line {
    const NAME: &'static str = "lineage";
    const COLUMNS: &'static str = COLUMNS;
    const GROUP_ROWS: usize = GROUP_ROWS_MAX;
    const GROUP_BYTES: usize = 8 << 20;

    /// Ids are random, so they are stored as they are, with a filter (Parquet's bloom filter) by which most row groups without an
    /// id are passed over.
    fn properties(common: WriterPropertiesBuilder) -> WriterPropertiesBuilder {
        let column = |name: &str| ColumnPath::from(name);
        common
            .set_column_dictionary_enabled(column("id"), false)
            .set_column_compression(column("id"), Compression::UNCOMPRESSED)
            .set_column_bloom_filter_max_ndv(column("id"), GROUP_ROWS_MAX as u64)
            .set_column_bloom_filter_fpp(column("id"), 0.01)
            .set_column_dictionary_enabled(column("url"), false)
            .set_column_dictionary_enabled(column("at"), false)
            .set_column_encoding(column("at"), Encoding::DELTA_BINARY_PACKED)
    }

    fn bounded(self) -> Self {
        Line::bounded(self)
    }

    fn bytes(&self) -> usize {
        let texts = [&self.source, &self.rule, &self.note].map(String::len).iter().sum::<usize>();
        let optional = [&self.url, &self.date].map(|text| text.as_ref().map_or(0, String::len));
        ROW_BYTES + texts + optional.iter().sum::<usize>()
    }

    fn write<W: Write + Send>(mut rows: Vec<Self>, group: &mut GroupWriter<'_, W>) -> ParquetResult<()> {
        group.ids(rows.iter().map(|row| row.id))?;
        group.texts(rows.iter_mut().map(|row| take(&mut row.source)))?;
        group.numbers(rows.iter().map(|row| row.at))?;
        group.numbers(rows.iter().map(|row| row.within))?;
        group.some_texts(rows.iter_mut().map(|row| row.url.take()))?;
        group.some_texts(rows.iter_mut().map(|row| row.date.take()))?;
        group.texts(rows.iter().map(|row| row.verdict.name().to_owned()))?;
        group.texts(rows.iter_mut().map(|row| take(&mut row.rule)))?;
        group.some_doubles(rows.iter().map(|row| row.measure))?;
        group.some_doubles(rows.iter().map(|row| row.limit))?;
        group.numbers(rows.iter().map(|row| row.bytes_in))?;
        group.numbers(rows.iter().map(|row| row.bytes_out))?;
        group.texts(rows.iter_mut().map(|row| take(&mut row.note)))
    }

    fn read(columns: &mut Columns<'_>) -> ParquetResult<Vec<Self>> {
        let (ids, mut sources) = (columns.ids()?, columns.texts()?);
        let (at, within) = (columns.numbers()?, columns.numbers()?);
        let (mut urls, mut dates) = (columns.some_texts()?, columns.some_texts()?);
        let (verdicts, mut rules) = (columns.texts()?, columns.texts()?);
        let (measures, limits) = (columns.some_doubles()?, columns.some_doubles()?);
        let (bytes_in, bytes_out) = (columns.numbers()?, columns.numbers()?);
        let mut notes = columns.texts()?;
        let line = |row: usize| {
            Ok(Line {
                id: ids[row],
                source: take(&mut sources[row]),
                at: at[row],
                within: within[row],
                url: urls[row].take(),
                date: dates[row].take(),
                verdict: verdicts[row].parse().map_err(no_sense)?,
                rule: take(&mut rules[row]),
                measure: measures[row],
                limit: limits[row],
                bytes_in: bytes_in[row],
                bytes_out: bytes_out[row],
                note: take(&mut notes[row]),
            })
        };
        (0..ids.len()).map(line).collect()
    }

    fn damaged(folder: &Folder, name: &str, reason: String) -> PrepareError {
        PrepareError::Lineage { url: folder.url_of(name), reason }
    }
}
