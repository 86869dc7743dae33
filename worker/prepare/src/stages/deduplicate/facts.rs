//! What is known of documents, by their numbers.

use common::storage::{Reader, StorageError};
use webtext::deduplicate::record::Facts;
use webtext::deduplicate::{Content, FileError, Records};

use super::keys::{changed, foreign};
use super::names::keys_name;
use super::objects::{failure, open};
use super::sources::{Sources, row_of, source_of};
use crate::PrepareError;

/// Reads what is known of documents whose numbers ascend.
pub struct AllFacts<'j> {
    sources: &'j Sources,
    content: Content,
    current: Option<Current>,
}

/// The unit that is read.
struct Current {
    source: u32,
    records: Records<Reader, Facts>,
    last: Option<Facts>,
}

impl<'j> AllFacts<'j> {
    /// Begins before the first document.
    pub fn new(sources: &'j Sources, content: Content) -> Self {
        AllFacts { sources, content, current: None }
    }

    /// Returns what is known of the document `number`, which is not smaller than the one before.
    pub fn of(&mut self, number: u64) -> Result<Facts, PrepareError> {
        let source = source_of(number);
        let mut current = match self.current.take() {
            Some(current) if current.source == source => current,
            _ => self.open(source)?,
        };
        let row = row_of(number);
        while current.last.is_none_or(|last| row_of(last.id) < row) {
            match current.records.next() {
                None => break,
                Some(facts) => current.last = Some(facts.map_err(|error| self.error(source, error))?),
            }
        }
        let found = current.last.filter(|last| row_of(last.id) == row);
        self.current = Some(current);
        found.ok_or_else(|| {
            let unit = self.sources.unit(source);
            let (name, reason) = (keys_name(unit.unit), format!("it has no document {row}"));
            if unit.is_new {
                crate::stages::damaged(unit.folder, &name, reason)
            } else {
                changed(unit.folder, &name, &reason)
            }
        })
    }

    fn open(&self, source: u32) -> Result<Current, PrepareError> {
        let unit = self.sources.unit(source);
        let name = keys_name(unit.unit);
        let file = match open(unit.folder, &name, self.content) {
            Err(StorageError::NotFound { .. }) if !unit.is_new => {
                return Err(changed(unit.folder, &name, "it is gone"));
            }
            file => file?,
        };
        let records = file.map_err(|error| self.error(source, error))?.into_records();
        Ok(Current { source, records, last: None })
    }

    fn error(&self, source: u32, error: FileError) -> PrepareError {
        let unit = self.sources.unit(source);
        if unit.is_new { failure(unit.folder, error) } else { foreign(error) }
    }
}
