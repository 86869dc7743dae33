//! Documents that a stage reads, unit by unit: those of the inputs, or those that the stage before has kept.

use common::config::{OnBadDocument, StorageConfig};

use super::document::{Document, DocumentReader};
use super::done::DoneStage;
use super::given::Inputs;
use super::lineage::{Line, Verdict};
use super::names::documents_name;
use super::object::verify;
use super::pages::document_id;
use crate::PrepareError;
use crate::inputs::{BadDocument, Batches, Fault, Found, RawDocument, ReadOptions, Source, Sources, Unit, units};
use crate::progress::Progress;
use crate::text::texts_of;

/// Fields, or columns, of a document beside its text.
const FIELDS: [&str; 3] = ["url", "title", "date"];

/// Documents that a stage reads.
pub enum Documents<'j> {
    /// Those of the inputs.
    Texts(Texts),
    /// Those that the stage before has kept.
    Kept(&'j DoneStage),
}

/// What is read.
pub enum Read {
    /// A document.
    Document(Document),
    /// A document that cannot be read, with the line that says so.
    Damaged(Line),
}

impl<'j> Documents<'j> {
    /// Opens what a stage reads: what the stage `before` has kept, or for the first stage the inputs.
    pub fn open(job: Inputs<'j>, before: Option<&'j DoneStage>) -> Result<Self, PrepareError> {
        let (config, options) = (job.config, ReadOptions::of(job.config));
        Ok(match before {
            None => Documents::Texts(Texts::open(
                (&config.inputs, job.found),
                options,
                config.on_bad_document,
                job.storage,
            )?),
            Some(before) => Documents::Kept(before),
        })
    }

    /// Returns the bytes to read of each unit.
    pub fn bytes(&self) -> Vec<u64> {
        match self {
            Documents::Texts(texts) => texts.units.iter().map(|unit| unit.bytes).collect(),
            Documents::Kept(before) => before.record.units.iter().map(|unit| unit.bytes).collect(),
        }
    }

    /// Reads unit `number`, and gives `each` document away in order. What an earlier stage has made is verified first.
    pub fn read(
        &self,
        number: u32,
        progress: &Progress,
        each: impl FnMut(Read) -> Result<(), PrepareError>,
    ) -> Result<(), PrepareError> {
        match self {
            Documents::Texts(texts) => texts.read(number, progress, each),
            Documents::Kept(before) => read_kept(before, number, progress, each),
        }
    }
}

fn read_kept(
    before: &DoneStage,
    number: u32,
    progress: &Progress,
    mut each: impl FnMut(Read) -> Result<(), PrepareError>,
) -> Result<(), PrepareError> {
    let (folder, name, stored) = (&before.folder, documents_name(number), &before.record.units[number as usize]);
    verify(folder, &name, stored)?;
    let mut documents = DocumentReader::open(folder, &name, stored)?;
    let groups = documents.groups();
    for group in 1.. {
        let Some(documents) = documents.next_group()? else { break };
        documents.into_iter().try_for_each(|document| each(Read::Document(document)))?;
        let share = |group: u64| stored.bytes * group / groups.max(1);
        progress.advance(share(group) - share(group - 1));
    }
    if groups == 0 {
        progress.advance(stored.bytes);
    }
    Ok(())
}

/// Documents that already are text, as the config names them.
pub struct Texts {
    /// Units, as those of tokenizing.
    units: Vec<Unit>,
    sources: Vec<Source>,
    options: ReadOptions,
    /// For each source, the number of its input and its name there.
    names: Vec<(u32, String)>,
    on_bad_document: OnBadDocument,
}

impl Texts {
    /// Opens the objects that were `found` for `inputs`.
    fn open(
        (inputs, found): (&[String], &[Found]),
        options: ReadOptions,
        on_bad_document: OnBadDocument,
        storage: &StorageConfig,
    ) -> Result<Self, PrepareError> {
        let sources = Sources::open(inputs, found, storage)?.list;
        let names = found.iter().map(|found| (found.input, found.name.clone())).collect();
        Ok(Texts { units: units(&sources), sources, options, names, on_bad_document })
    }

    fn read(
        &self,
        number: u32,
        progress: &Progress,
        mut each: impl FnMut(Read) -> Result<(), PrepareError>,
    ) -> Result<(), PrepareError> {
        let unit = &self.units[number as usize];
        let mut batches = Batches::new(&self.sources, &self.options, number, unit).with_columns(&FIELDS);
        let mut bytes_read = 0;
        while let Some(batch) = batches.next_batch()? {
            // Documents and damage are each in order, and so is what comes out.
            for bad in &batch.bad {
                each(Read::Damaged(self.damaged(bad)?))?;
            }
            for raw in &batch.documents {
                each(match texts_of(&batch, raw, &self.options.text_field, FIELDS, &self.sources) {
                    Ok((text, fields)) => Read::Document(self.document(raw, text.into_owned(), fields)),
                    Err(bad) => Read::Damaged(self.damaged(&bad)?),
                })?;
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

    fn damaged(&self, bad: &BadDocument) -> Result<Line, PrepareError> {
        if self.on_bad_document == OnBadDocument::Fail {
            let source = &self.sources[bad.source as usize];
            return Err(PrepareError::BadDocument(source.with_line(bad.clone())));
        }
        Ok(Line {
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
        })
    }
}

/// Returns the name of a fault, as it is stored everywhere.
fn name_of(fault: Fault) -> String {
    match serde_json::to_value(fault) {
        Ok(serde_json::Value::String(name)) => name,
        _ => format!("{fault:?}"),
    }
}
