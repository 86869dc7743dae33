//! The stage `clean`: rules keep a document or drop it, and may change its text.

use std::fmt::Write as _;

use common::config::{OnBadDocument, StorageConfig};
use common::storage::Folder;
use webtext::clean::{Check, Cleaner, Depth, Document as Judged, Limit, Verdict as Decided};

use super::document::{Document, DocumentReader};
use super::lineage::{Line, Verdict};
use super::object::{Stored, verify};
use super::output::Output;
use super::pages::document_id;
use crate::PrepareError;
use crate::inputs::{BadDocument, Batches, Fault, Found, RawDocument, ReadOptions, Source, Sources, Unit, units};
use crate::progress::Progress;
use crate::text::texts_of;

/// Fields, or columns, of a document beside its text.
const FIELDS: [&str; 3] = ["url", "title", "date"];

/// Cleans the documents of a unit of the stage before.
pub fn clean_documents(
    (folder, name, stored): (&Folder, &str, &Stored),
    cleaner: &Cleaner,
    output: &mut Output<'_, '_>,
    progress: &Progress,
) -> Result<(), PrepareError> {
    verify(folder, name, stored)?;
    let mut documents = DocumentReader::open(folder, name, stored)?;
    let groups = documents.groups();
    for number in 1.. {
        let Some(group) = documents.next_group()? else { break };
        for document in group {
            judge(document, cleaner, output, progress)?;
        }
        let share = |number: u64| stored.bytes * number / groups.max(1);
        progress.advance(share(number) - share(number - 1));
    }
    if groups == 0 {
        progress.advance(stored.bytes);
    }
    Ok(())
}

/// Documents that already are text, as the config names them.
pub struct Texts {
    /// Units, as those of tokenizing.
    pub units: Vec<Unit>,
    sources: Vec<Source>,
    options: ReadOptions,
    /// For each source, the number of its input and its name there.
    names: Vec<(u32, String)>,
    on_bad_document: OnBadDocument,
}

impl Texts {
    /// Opens the objects that were `found` for `inputs`.
    pub fn open(
        (inputs, found): (&[String], &[Found]),
        options: ReadOptions,
        on_bad_document: OnBadDocument,
        storage: &StorageConfig,
    ) -> Result<Self, PrepareError> {
        let sources = Sources::open(inputs, found, storage)?.list;
        let names = found.iter().map(|found| (found.input, found.name.clone())).collect();
        Ok(Texts { units: units(&sources), sources, options, names, on_bad_document })
    }

    /// Cleans the documents of unit `number`.
    pub fn clean(
        &self,
        number: u32,
        cleaner: &Cleaner,
        output: &mut Output<'_, '_>,
        progress: &Progress,
    ) -> Result<(), PrepareError> {
        let unit = &self.units[number as usize];
        let mut batches = Batches::new(&self.sources, &self.options, number, unit).with_columns(&FIELDS);
        let mut bytes_read = 0;
        while let Some(batch) = batches.next_batch()? {
            // Documents and damage are each in order, and so is what comes out.
            for bad in &batch.bad {
                self.damaged(bad, output)?;
            }
            for raw in &batch.documents {
                match texts_of(&batch, raw, &self.options.text_field, FIELDS, &self.sources) {
                    Ok((text, fields)) => {
                        let document = self.document(raw, text.into_owned(), fields);
                        judge(document, cleaner, output, progress)?;
                    }
                    Err(bad) => self.damaged(&bad, output)?,
                }
            }
            progress.advance(batches.bytes_read() - bytes_read);
            bytes_read = batches.bytes_read();
        }
        Ok(())
    }

    fn id(&self, source: u32, position: u64) -> u128 {
        let (input, name) = &self.names[source as usize];
        document_id(*input, name, position, 0)
    }

    fn document(&self, raw: &RawDocument, text: String, [url, title, date]: [Option<String>; 3]) -> Document {
        Document {
            id: self.id(raw.source, raw.position),
            source: self.sources[raw.source as usize].url(),
            at: raw.position,
            within: 0,
            url,
            title,
            date,
            text,
        }
    }

    fn damaged(&self, bad: &BadDocument, output: &mut Output<'_, '_>) -> Result<(), PrepareError> {
        if self.on_bad_document == OnBadDocument::Fail {
            let source = &self.sources[bad.source as usize];
            return Err(PrepareError::BadDocument(source.with_line(bad.clone())));
        }
        let line = Line {
            id: self.id(bad.source, bad.position),
            source: bad.url.clone(),
            at: bad.position,
            within: 0,
            url: None,
            date: None,
            verdict: Verdict::Damaged,
            rule: name_of(bad.fault),
            measure: None,
            limit: None,
            bytes_in: 0,
            bytes_out: 0,
            note: bad.reason.clone(),
        };
        output.drop(line, "")
    }
}

/// Returns the name of a fault, as it is stored everywhere.
fn name_of(fault: Fault) -> String {
    match serde_json::to_value(fault) {
        Ok(serde_json::Value::String(name)) => name,
        _ => format!("{fault:?}"),
    }
}

fn judge(
    mut document: Document,
    cleaner: &Cleaner,
    output: &mut Output<'_, '_>,
    progress: &Progress,
) -> Result<(), PrepareError> {
    let text = std::mem::take(&mut document.text);
    let decided = cleaner.judge(Judged { text: &text, url: document.url.as_deref() }, Depth::UntilDropped);
    progress.encoded(text.len() as u64);
    let line = Line {
        id: document.id,
        source: document.source.clone(),
        at: document.at,
        within: document.within,
        url: document.url.clone(),
        date: document.date.clone(),
        verdict: Verdict::Kept,
        rule: String::new(),
        measure: None,
        limit: None,
        bytes_in: text.len() as u64,
        bytes_out: decided.text.len() as u64,
        note: note(&decided),
    };
    match decided.dropped().copied() {
        Some(check) => output.drop(dropped(line, &check), &text),
        None => {
            document.text = decided.text.into_owned();
            output.keep(line, document)
        }
    }
}

/// Completes the line of a document that `check` drops.
fn dropped(line: Line, check: &Check) -> Line {
    let (Limit::AtLeast(limit) | Limit::AtMost(limit) | Limit::Above(limit)) = check.limit;
    Line {
        verdict: Verdict::Dropped,
        rule: check.rule.name().to_owned(),
        measure: Some(check.measure),
        limit: Some(limit),
        bytes_out: 0,
        ..line
    }
}

/// Describes what else is known of a document.
fn note(decided: &Decided<'_>) -> String {
    let language = decided.language.as_ref();
    let mut note = language.map(|found| format!("{} {:.2}", found.language, found.confidence)).unwrap_or_default();
    if decided.kept() && decided.changed() {
        note.push_str(if note.is_empty() { "text changed" } else { "; text changed" });
        changes(decided, &mut note);
    }
    note
}

/// Adds the numbers of what was changed to a note. White space at the ends of lines is not counted.
fn changes(decided: &Decided<'_>, note: &mut String) {
    let (changes, lines) = (decided.changes, decided.removed);
    if changes.line_ends > 0 {
        // Writing to a string cannot fail.
        let _ = write!(note, "; {} line ends normalised", changes.line_ends);
    }
    let removed = [
        (changes.controls, "controls"),
        (changes.byte_order_marks, "byte order marks"),
        (lines.citations, "citations"),
        (lines.few_words, "lines of few words"),
        (lines.long_word, "lines with a long word"),
        (lines.no_end_punctuation, "lines without end punctuation"),
        (lines.javascript, "lines about JavaScript"),
        (lines.policies, "lines about policies"),
    ];
    let mut separator = "; removed ";
    for (count, what) in removed.into_iter().filter(|(count, _)| *count > 0) {
        let _ = write!(note, "{separator}{count} {what}");
        separator = ", ";
    }
}

#[cfg(test)]
mod tests;
