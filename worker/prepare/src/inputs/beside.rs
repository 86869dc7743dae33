//! A column beside the text, such as that of titles. Documents do without it, so damage in it costs no text.

use parquet::schema::types::SchemaDescriptor;

use super::reading::{Failure, damage_if_it_panics, no_sense};
use super::source::Source;
use super::strings::{Strings, has_strings};

/// Bytes of the column that are fetched at once.
const WINDOW_BYTES: u64 = 256 << 10;

/// A column beside the text.
pub(super) struct Beside {
    strings: Strings,
    name: String,
    url: String,
    has_warned: bool,
}

impl Beside {
    /// Opens the column `name` of `source`; `None` where the file has no such column of strings.
    pub fn open(source: &Source, schema: &SchemaDescriptor, name: &str) -> Result<Option<Self>, Failure> {
        if !has_strings(schema, name) {
            return Ok(None);
        }
        let strings = Strings::open(source, name, WINDOW_BYTES)?;
        Ok(Some(Beside { strings, name: name.to_owned(), url: source.url(), has_warned: false }))
    }

    /// Begins the row group `number`.
    pub fn begin(&mut self, number: usize) -> Result<(), Failure> {
        self.without_if_damaged(number, |strings| strings.begin(number))
    }

    /// Decodes as many `rows` of the row group `number` as the text has.
    pub fn decode(&mut self, number: usize, rows: usize) -> Result<(), Failure> {
        if !self.strings.is_open() {
            return Ok(());
        }
        self.without_if_damaged(number, |strings| match strings.decode(rows)? == rows && strings.decoded() == rows {
            true => Ok(()),
            false => Err(no_sense("a number of rows")),
        })
    }

    /// Returns the next row's string; `None` where it is null, damaged, not UTF-8, or longer than `most` bytes.
    pub fn pop(&mut self, most: usize) -> Option<String> {
        let string = self.strings.pop().flatten().filter(|string| string.len() <= most)?;
        String::from_utf8(string.data().to_vec()).ok()
    }

    /// Runs `read`. If the row group `number` is damaged, the rest of it is without this column.
    fn without_if_damaged(
        &mut self,
        number: usize,
        read: impl FnOnce(&mut Strings) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Err(failure) = damage_if_it_panics(|| read(&mut self.strings)) else { return Ok(()) };
        let Failure::Object { reason, .. } = failure else { return Err(failure) };
        self.strings.end();
        if !self.has_warned {
            self.has_warned = true;
            let (url, name) = (&self.url, &self.name);
            tracing::warn!(
                "{url}: the column {name:?} cannot be read to the end of row group {number}, so documents there are without it: {reason}"
            );
        }
        Ok(())
    }
}
