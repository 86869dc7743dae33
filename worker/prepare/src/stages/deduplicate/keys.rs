//! The first step: keys of all documents.
//!
//! Units are read in groups. A unit of this stage gives two objects that stay: what is known of its documents, and their signatures.
//! Those of earlier deduplications are read from such objects. Both give keys, which are sorted into objects of the work folder, by
//! space. A group counts when its JSON object is there.

use std::iter::zip;
use std::ops::Range;

use bytes::Bytes;
use common::storage::{Folder, Reader, StorageError};
use serde::{Deserialize, Serialize};
use webtext::deduplicate::exact::{Paragraph, paragraphs, text_key, url_key};
use webtext::deduplicate::record::{Facts, Keyed, Occurrence, Record};
use webtext::deduplicate::{
    Content, DeduplicateOptions, FileError, FileReader, Normaliser, Records, Scratch, Signature, Signer, Sketch,
};

use super::names::{keys_name, signatures_name};
use super::objects::{Spill, Writer, open, run_name};
use super::paragraphs::{PARTS, part_name, part_of};
use super::sources::{ROW_MAX, SourceUnit, Sources, number, row_of, source_of};
use super::spaces::Space;
use crate::PrepareError;
use crate::progress::Progress;
use crate::stages::damaged;
use crate::stages::document::Document;
use crate::stages::documents::{Documents, Read};

/// Fewest documents whose keys are sorted at once.
const DOCUMENTS_MIN: u64 = 64;

/// Makes keys.
pub struct Keys<'j> {
    /// Documents of this stage.
    pub documents: &'j Documents<'j>,
    /// All units that are compared.
    pub sources: &'j Sources,
    /// Rules.
    pub options: &'j DeduplicateOptions,
    /// Signer, where documents are compared by signatures.
    pub signer: Option<&'j Signer>,
    /// Work folder.
    pub work: &'j Folder,
    /// Memory of a thread for keys.
    pub memory_bytes: u64,
}

/// A group of units whose keys are there.
#[derive(Debug, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Number of objects with keys, for each space.
    runs: Vec<u32>,
    /// Number of keys, for each space.
    keys: Vec<u64>,
    /// Number of objects with paragraphs, for each part of their keys; none where they are not compared.
    paragraphs: Vec<u32>,
    /// Number of paragraphs.
    paragraph_count: u64,
}

impl GroupRecord {
    /// Returns the name of the object that makes `group` count.
    pub fn name(group: u32) -> String {
        format!("{}.json", group_name(group))
    }

    /// Reads the record of `group`.
    pub fn get(work: &Folder, group: u32, spaces: usize) -> Result<Self, PrepareError> {
        let name = GroupRecord::name(group);
        let refused = |reason: String| damaged(work, &name, reason);
        let record: GroupRecord =
            serde_json::from_slice(&work.get(&name)?).map_err(|error| refused(error.to_string()))?;
        let is_whole =
            record.runs.len() == spaces && record.keys.len() == spaces && [0, PARTS].contains(&record.paragraphs.len());
        match is_whole && record.runs.iter().chain(&record.paragraphs).all(|runs| *runs < 1 << 24) {
            true => Ok(record),
            false => Err(refused(format!("it is not of {spaces} kinds of keys"))),
        }
    }

    /// Returns the names of the objects with keys of the space at `at`.
    pub fn names(&self, group: u32, (at, space): (usize, Space)) -> Vec<String> {
        (0..self.runs[at]).map(|run| run_name(&keys_of_group(group, space), run)).collect()
    }

    /// Returns the bytes of the keys of the space at `at`.
    pub fn bytes(&self, at: usize) -> u64 {
        self.keys[at].saturating_mul(Keyed::BYTES as u64)
    }

    /// Returns the bytes of all paragraphs.
    pub fn paragraph_bytes(&self) -> u64 {
        self.paragraph_count.saturating_mul(Occurrence::BYTES as u64)
    }

    /// Returns the names of the objects with paragraphs in this part of their keys.
    pub fn paragraphs(&self, group: u32, part: usize) -> Vec<String> {
        let runs = self.paragraphs.get(part).copied().unwrap_or(0);
        (0..runs).map(|run| run_name(&paragraphs_of_group(group, part), run)).collect()
    }
}

fn paragraphs_of_group(group: u32, part: usize) -> String {
    format!("{}.{}", group_name(group), part_name(part))
}

fn group_name(group: u32) -> String {
    format!("group-{group:06}")
}

fn keys_of_group(group: u32, space: Space) -> String {
    format!("{}.{}", group_name(group), space.name())
}

impl Keys<'_> {
    /// Makes the keys of the group `number` of units.
    pub fn make(&self, (group, units): (u32, &Range<u32>), progress: &Progress) -> Result<(), PrepareError> {
        let spaces = Space::all(self.options);
        // Half is for documents and what is on its way to the store. Where paragraphs are compared, they take half of the rest.
        let keys_bytes = self.memory_bytes / 2 / (1 + u64::from(self.options.paragraphs));
        let a_document = (spaces.len().max(1) * size_of::<Keyed>()) as u64;
        let documents_max = (keys_bytes / a_document).max(DOCUMENTS_MIN) as usize;
        let paragraphs_max = ((keys_bytes / (PARTS * size_of::<Occurrence>()) as u64).max(DOCUMENTS_MIN)) as usize;
        let spill = |space: &Space| {
            Spill::new(self.work, keys_of_group(group, *space), space.content(self.options), documents_max)
        };
        let spills = spaces.iter().map(spill).collect();
        let part = |part| Spill::new(self.work, paragraphs_of_group(group, part), Content::Paragraphs, paragraphs_max);
        let parts = (0..PARTS).filter(|_| self.options.paragraphs).map(part).collect();
        let mut keyed = KeyedDocuments { spaces: &spaces, spills, parts };
        for source in units.clone() {
            let unit = self.sources.unit(source);
            match unit.is_new {
                true => self.of_documents(source, unit, &mut keyed, progress)?,
                false => {
                    self.of_objects(source, unit, &mut keyed)?;
                    progress.advance(self.sources.bytes_of(&(source..source + 1)));
                }
            }
        }
        let keys = keyed.spills.iter().map(Spill::count).collect();
        let runs = keyed.spills.into_iter().map(Spill::finish).collect::<Result<_, _>>()?;
        let paragraph_count = keyed.parts.iter().map(Spill::count).sum();
        let paragraphs = keyed.parts.into_iter().map(Spill::finish).collect::<Result<_, _>>()?;
        let record = serde_json::to_vec(&GroupRecord { runs, keys, paragraphs, paragraph_count })
            .unwrap_or_else(|e| unreachable!("it is JSON: {e}"));
        Ok(self.work.put(&GroupRecord::name(group), Bytes::from(record))?)
    }

    /// Makes keys of the documents of a unit of this stage.
    fn of_documents(
        &self,
        source: u32,
        unit: SourceUnit<'_>,
        keyed: &mut KeyedDocuments<'_, '_>,
        progress: &Progress,
    ) -> Result<(), PrepareError> {
        let minhash = self.options.minhash;
        let mut facts = Writer::begin(unit.folder, &keys_name(unit.unit), Content::Facts(minhash))?;
        let signatures_name = signatures_name(unit.unit);
        let begin = |_| Writer::begin(unit.folder, &signatures_name, Content::Signatures(minhash));
        let mut signatures = self.signer.map(begin).transpose()?;
        let (mut row, mut memory) = (0, Memory::default());
        self.documents.read(unit.unit, progress, |read| {
            let Read::Document(document) = read else { return Ok(()) };
            if row > ROW_MAX {
                let reason = format!("more than {ROW_MAX} documents in a unit of work; divide the input's object");
                return Err(damaged(unit.folder, &keys_name(unit.unit), reason));
            }
            let id = number(unit.unit, row);
            let signature = self.signer.and_then(|signer| signer.sign(&document.text, &mut memory.scratch));
            let known = self.facts(id, &document, signature.as_ref(), &mut memory.normaliser);
            facts.push(&known)?;
            if let (Some(signatures), Some(signature)) = (&mut signatures, &signature) {
                signatures.push_signature(id, signature)?;
            }
            keyed.push(number(source, row), &known, signature.as_ref(), self.options)?;
            if self.options.paragraphs {
                keyed.push_paragraphs(number(source, row), &document.text, self.options, &mut memory.normaliser)?;
            }
            progress.encoded(document.text.len() as u64);
            row += 1;
            Ok(())
        })?;
        facts.finish(row)?;
        signatures.map_or(Ok(()), |signatures| signatures.finish(row))
    }

    fn facts(&self, id: u64, document: &Document, signature: Option<&Signature>, normaliser: &mut Normaliser) -> Facts {
        let url = document.url.as_deref().and_then(url_key);
        let value = self.options.keep.value(document.text.len(), |_| document.date.as_deref().and_then(number_of_date));
        Facts {
            id,
            name: document.id,
            text: text_key(&document.text, normaliser).unwrap_or(0),
            url: url.unwrap_or(0),
            value,
            sketch: signature.map(Sketch::of).unwrap_or_default(),
        }
    }

    /// Makes keys of what an earlier deduplication has written of a unit.
    fn of_objects(
        &self,
        source: u32,
        unit: SourceUnit<'_>,
        keyed: &mut KeyedDocuments<'_, '_>,
    ) -> Result<(), PrepareError> {
        let minhash = self.options.minhash;
        let mut signatures = match self.options.near {
            true => Some(Signatures::open(unit, Content::Signatures(minhash))?),
            false => None,
        };
        let name = keys_name(unit.unit);
        let facts: Records<Reader, Facts> = open_old(unit, &name, Content::Facts(minhash))?.into_records();
        let mut last = None;
        for known in facts {
            let known = known.map_err(foreign)?;
            if source_of(known.id) != unit.unit || last.is_some_and(|last| last >= known.id) {
                return Err(changed(
                    unit.folder,
                    &name,
                    &format!("document {} is not of unit {}", known.id, unit.unit),
                ));
            }
            last = Some(known.id);
            let signature = signatures.as_mut().map(|signatures| signatures.of(known.id)).transpose()?.flatten();
            keyed.push(number(source, row_of(known.id)), &known, signature.as_ref(), self.options)?;
        }
        signatures.map_or(Ok(()), |mut signatures| signatures.end())
    }
}

/// Memory that is used again from document to document.
#[derive(Default)]
struct Memory {
    normaliser: Normaliser,
    scratch: Scratch,
}

/// Receiver of keys.
struct KeyedDocuments<'k, 'f> {
    spaces: &'k [Space],
    spills: Vec<Spill<'f, Keyed>>,
    /// Receivers of paragraphs, for each part of their keys; none where they are not compared.
    parts: Vec<Spill<'f, Occurrence>>,
}

impl KeyedDocuments<'_, '_> {
    fn push(
        &mut self,
        id: u64,
        known: &Facts,
        signature: Option<&Signature>,
        options: &DeduplicateOptions,
    ) -> Result<(), PrepareError> {
        let mut bands = signature.map(|signature| signature.band_keys(&options.minhash));
        for (space, spill) in zip(self.spaces, &mut self.spills) {
            let key = match space {
                // Bands come in their order.
                Space::Band(_) => bands.as_mut().and_then(Iterator::next),
                Space::Text => Some(known.text).filter(|key| *key != 0),
                Space::Url => Some(known.url).filter(|key| *key != 0),
            };
            if let Some(key) = key {
                spill.push(Keyed { key, id })?;
            }
        }
        Ok(())
    }
}

impl KeyedDocuments<'_, '_> {
    fn push_paragraphs(
        &mut self,
        id: u64,
        text: &str,
        options: &DeduplicateOptions,
        normaliser: &mut Normaliser,
    ) -> Result<(), PrepareError> {
        let is_long = |paragraph: &Paragraph| paragraph.normal_bytes >= options.paragraph_bytes as usize;
        for Paragraph { key, number, .. } in paragraphs(text, normaliser).filter(is_long) {
            self.parts[part_of(key)].push(Occurrence { key, id, number })?;
        }
        Ok(())
    }
}

/// Signatures of an earlier deduplication, by number.
struct Signatures<'u> {
    unit: SourceUnit<'u>,
    file: FileReader<Reader>,
    next: Option<(u64, Signature)>,
}

impl<'u> Signatures<'u> {
    fn open(unit: SourceUnit<'u>, content: Content) -> Result<Self, PrepareError> {
        let mut file = open_old(unit, &signatures_name(unit.unit), content)?;
        let next = file.next_signature().map_err(foreign)?;
        Ok(Signatures { unit, file, next })
    }

    /// Returns the signature of the document `id`, which is greater than the one before.
    fn of(&mut self, id: u64) -> Result<Option<Signature>, PrepareError> {
        match self.next.take() {
            Some((next, signature)) if next == id => {
                self.next = self.file.next_signature().map_err(foreign)?;
                Ok(Some(signature))
            }
            Some((next, _)) if next < id => Err(self.without_keys(next)),
            next => {
                self.next = next;
                Ok(None)
            }
        }
    }

    /// Checks that there are no others.
    fn end(&mut self) -> Result<(), PrepareError> {
        self.next.take().map_or(Ok(()), |(next, _)| Err(self.without_keys(next)))
    }

    fn without_keys(&self, id: u64) -> PrepareError {
        let reason = format!("it has a signature of document {id}, which has no keys");
        changed(self.unit.folder, &signatures_name(self.unit.unit), &reason)
    }
}

/// Opens an object of an earlier deduplication.
fn open_old(unit: SourceUnit<'_>, name: &str, content: Content) -> Result<FileReader<Reader>, PrepareError> {
    match open(unit.folder, name, content) {
        Err(StorageError::NotFound { .. }) => Err(changed(unit.folder, name, "it is gone")),
        file => file?.map_err(foreign),
    }
}

/// Returns the error for an object of an earlier deduplication that is not what that one has written.
pub(super) fn changed(folder: &Folder, name: &str, reason: &str) -> PrepareError {
    let reason = format!("{reason}; copy the folder anew, or make it anew from its documents");
    PrepareError::Against { url: folder.url_of(name), reason }
}

/// Returns the error for an object of an earlier deduplication.
pub(super) fn foreign(error: FileError) -> PrepareError {
    match Reader::storage_error(&error) {
        Some(error) => error.clone().into(),
        None => {
            let reason = format!("{}; {}", error.fault, error.fault.remedy());
            PrepareError::Against { url: error.name, reason }
        }
    }
}

/// Returns a number that is the larger, the later a date in the form of ISO 8601 is: its fields as far as seconds, and 0 for those that
/// are not there. Returns `None` for another form.
fn number_of_date(date: &str) -> Option<f64> {
    let mut rest = date.trim();
    let (mut number, mut is_going_on) = (0, true);
    // What may be before a field, and its digits. What is behind the seconds, such as a time zone, is not looked at.
    for (before, digits) in [("", 4), ("-", 2), ("-", 2), ("T ", 2), (":", 2), (":", 2)] {
        let field = match before {
            "" => Some(rest),
            _ => rest.strip_prefix(|c: char| before.contains(c)),
        };
        let field = field.and_then(|field| Some((field.get(..digits)?, field.get(digits..)?)));
        let field = field.filter(|(field, _)| is_going_on && field.bytes().all(|byte| byte.is_ascii_digit()));
        number *= 10_u64.pow(digits as u32);
        match field {
            Some((field, after)) => {
                number += field.parse::<u64>().ok()?;
                rest = after;
            }
            // A year stands alone or before a month.
            None if before.is_empty() => return None,
            None => is_going_on = false,
        }
    }
    let is_date = date.trim().len() == 4 || date.trim().as_bytes().get(4) == Some(&b'-');
    is_date.then_some(number as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_dates_are_larger_numbers_and_other_forms_are_none() {
        let numbers = [
            "1999",
            "2017-12",
            "2017-12-31",
            "2017-12-31T10:00:00Z",
            "2017-12-31 10:00:01+01:00",
            "2018-01-01",
            "2018-02-01T10:00-05:00",
        ];
        let numbers: Vec<f64> = numbers.iter().map(|date| number_of_date(date).unwrap()).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        for date in ["", "01.02.2017", "Mon, 1 Jan 2018", "20171231", "201", "2017:12", "é017"] {
            assert_eq!(number_of_date(date), None, "{date}");
        }
    }
}
