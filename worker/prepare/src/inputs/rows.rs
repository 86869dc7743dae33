//! Reads Parquet: columns of the row groups that begin in a part of the file, a page at a time.

use std::ops::Range;

use parquet::file::metadata::RowGroupMetaData;

use super::beside::Beside;
use super::fault::{Fault, Place};
use super::reading::{Failure, Next, ReadOptions, damage_if_it_panics, no_sense, too_long};
use super::source::Source;
use super::strings::Strings;

/// Bytes of the column of the text that are fetched at once.
const WINDOW_BYTES: u64 = 4 << 20;
/// Number of values that are decoded at once; a page holds them in memory anyway.
const ROWS_AT_ONCE: usize = 64;

/// Reader of rows in order.
pub(super) struct Rows {
    text: Strings,
    /// Columns beside the text, in the order in which they were asked for; `None` where the file has no such column of strings.
    beside: Vec<Option<Beside>>,
    /// Row groups to read, the next one last.
    groups: Vec<Group>,
    /// Number of the current row group.
    group: usize,
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
        let metadata = text.metadata();
        let schema = metadata.file_metadata().schema_descr();
        let beside = beside.iter().map(|name| Beside::open(source, schema, name)).collect::<Result<Vec<_>, _>>()?;
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
        Ok(Rows { text, beside, groups, group: 0, rows_left: 0, row: 0, text_field, most })
    }

    /// Appends the next row's text to `content`.
    pub fn next(&mut self, content: &mut Vec<u8>) -> Result<Next, Failure> {
        while self.text.decoded() == 0 {
            if !damage_if_it_panics(|| self.decode_more())? {
                return Ok(Next::End);
            }
        }
        let row = self.row - self.text.decoded() as u64;
        let Some(value) = self.text.pop() else { return Ok(Next::Nothing) };
        let most = self.most;
        let beside = self.beside.iter_mut().map(|column| column.as_mut()?.pop(most)).collect();
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
        if !self.text.is_open() {
            let Some(Group { number, rows_before, rows }) = self.groups.pop() else { return Ok(false) };
            (self.group, self.row, self.rows_left) = (number, rows_before, rows);
            self.text.begin(number)?;
            self.beside.iter_mut().flatten().try_for_each(|column| column.begin(number))?;
            return Ok(true);
        }
        let rows = self.text.decode(ROWS_AT_ONCE)?;
        if rows == 0 {
            if self.rows_left > 0 {
                return Err(no_sense("a number of rows"));
            }
            self.text.end();
            return Ok(true);
        }
        self.rows_left = self.rows_left.checked_sub(rows as u64).ok_or_else(|| no_sense("a number of rows"))?;
        self.row += rows as u64;
        let group = self.group;
        self.beside.iter_mut().flatten().try_for_each(|column| column.decode(group, rows))?;
        Ok(true)
    }
}

/// Returns the byte at which a row group begins in its file; `None` where the file makes no sense.
fn first_byte(group: &RowGroupMetaData) -> Option<u64> {
    let firsts = group.columns().iter().map(|column| {
        let pages = [Some(column.data_page_offset()), column.dictionary_page_offset()];
        pages.into_iter().flatten().map(u64::try_from).collect::<Result<Vec<_>, _>>().ok()?.into_iter().min()
    });
    firsts.collect::<Option<Vec<_>>>()?.into_iter().min()
}
