//! Finds rows of lineage. Only the column that is searched is read in full; the others, at the rows that were found.

use common::storage::Folder;
use parquet::errors::Result as ParquetResult;

use super::line::Line;
use super::schema::URL;
use super::units::UnitFile;
use crate::PrepareError;
use crate::stages::parquet::{Group, RowFile};

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
pub struct LineageFile(RowFile<Line>);

impl LineageFile {
    /// Opens a lineage file in a stage's folder. Reads its footer alone.
    pub fn open(folder: &Folder, unit: &UnitFile) -> Result<Self, PrepareError> {
        RowFile::open(folder, (unit.name.as_str(), unit.bytes), WINDOW_BYTES).map(LineageFile)
    }

    /// Returns all lines, in their order. Takes memory for all.
    pub fn lines(&self) -> Result<Vec<Line>, PrepareError> {
        let mut lines = Vec::new();
        for number in 0..self.0.groups() {
            lines.extend(self.0.group(number, |group| group.all())?);
        }
        Ok(lines)
    }

    /// Finds the lines with this id, and reads at most `most` of them.
    pub fn with_id(&self, id: u128, most: usize) -> Result<Hits, PrepareError> {
        self.find(most, |group, hit| match group.may_have(id) {
            true => group.each_id(|row, found| {
                if found == id {
                    hit(row);
                }
            }),
            false => Ok(()),
        })
    }

    /// Finds the lines whose id fulfils `matches`, and reads at most `most` of them.
    pub fn where_id(&self, matches: impl Fn(u128) -> bool, most: usize) -> Result<Hits, PrepareError> {
        self.find(most, |group, hit| {
            group.each_id(|row, found| {
                if matches(found) {
                    hit(row);
                }
            })
        })
    }

    /// Finds the lines whose URL fulfils `matches`, and reads at most `most` of them.
    pub fn where_url(&self, matches: impl Fn(&str) -> bool, most: usize) -> Result<Hits, PrepareError> {
        self.find(most, |group, hit| {
            group.each_text(URL, |row, url| {
                if matches(url) {
                    hit(row);
                }
            })
        })
    }

    /// Finds the rows that `search` hits in each row group, and reads the first of them, at most `most`. Other rows take no memory.
    fn find(
        &self,
        most: usize,
        search: impl Fn(&Group<'_, Line>, &mut dyn FnMut(usize)) -> ParquetResult<()>,
    ) -> Result<Hits, PrepareError> {
        let mut hits = Hits::default();
        for number in 0..self.0.groups() {
            let wanted = most - hits.lines.len();
            let (lines, count) = self.0.group(number, |group| {
                let (mut rows, mut count) = (Vec::new(), 0);
                search(group, &mut |row| {
                    count += 1;
                    if rows.len() < wanted {
                        rows.push(row);
                    }
                })?;
                let lines = if rows.is_empty() { Vec::new() } else { group.at(&rows)? };
                Ok((lines, count))
            })?;
            hits.lines.extend(lines);
            hits.count += count;
        }
        Ok(hits)
    }
}
