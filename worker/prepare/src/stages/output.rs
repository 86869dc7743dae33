//! What a unit gives: documents, a line for everything that was seen, and sums.

use common::storage::Folder;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use parquet::errors::ParquetError;

use super::document::{Document, DocumentWriter};
use super::lineage::{Line, LineageWriter, Verdict};
use super::names::{documents_name, lineage_name};
use super::object::ObjectWriter;
use super::parquet::failure;
use super::record::UnitRecord;
use super::tally::Tally;
use crate::PrepareError;
use crate::failure::Failure;

/// Receiver of a unit's decisions.
pub struct Output<'w, 'f> {
    folder: &'f Folder,
    number: u32,
    documents: DocumentWriter<&'w mut ObjectWriter<'f>>,
    lineage: LineageWriter<&'w mut ObjectWriter<'f>>,
    tally: Tally,
    failure: &'f Failure,
}

impl Output<'_, '_> {
    /// Keeps a document, of which `line` says what was decided.
    pub fn keep(&mut self, line: Line, document: Document) -> Result<(), PrepareError> {
        debug_assert!(line.verdict == Verdict::Kept && line.id == document.id);
        self.tally.count(&line, "");
        let (folder, number) = (self.folder, self.number);
        let failed = |error: ParquetError| failure(folder, &documents_name(number), &error);
        self.documents.push(document).map_err(failed)?;
        self.push(line)
    }

    /// Drops a document, or passes over a damaged record. `text` is the document's.
    pub fn drop(&mut self, line: Line, text: &str) -> Result<(), PrepareError> {
        debug_assert!(line.verdict != Verdict::Kept);
        self.tally.count(&line, text);
        self.push(line)
    }

    fn push(&mut self, line: Line) -> Result<(), PrepareError> {
        if self.failure.is_set() {
            return Err(PrepareError::Stopped);
        }
        let (folder, number) = (self.folder, self.number);
        self.lineage.push(line).map_err(|error| failure(folder, &lineage_name(number), &error))
    }

    /// Ends both files. Returns the sums.
    fn finish(self) -> Result<Tally, PrepareError> {
        let Output { folder, number, documents, lineage, tally, .. } = self;
        documents.finish().map_err(|error| failure(folder, &documents_name(number), &error))?;
        lineage.finish().map_err(|error| failure(folder, &lineage_name(number), &error))?;
        Ok(tally)
    }

    /// Adds processor time that other processes have taken.
    pub fn took(&mut self, seconds: f64) {
        self.tally.cpu_seconds += seconds;
    }
}

/// Writes what `decide` decides about unit `number`, and makes the unit count. Nothing counts if it fails, and it fails soon
/// after another thread has.
pub(crate) fn write_unit(
    folder: &Folder,
    number: u32,
    failure_of_others: &Failure,
    decide: impl FnOnce(&mut Output<'_, '_>) -> Result<(), PrepareError>,
) -> Result<UnitRecord, PrepareError> {
    let began = cpu_seconds();
    let mut documents = ObjectWriter::begin(folder, &documents_name(number))?;
    let mut lineage = ObjectWriter::begin(folder, &lineage_name(number))?;
    let of_documents = |error: ParquetError| failure(folder, &documents_name(number), &error);
    let of_lineage = |error: ParquetError| failure(folder, &lineage_name(number), &error);
    let mut output = Output {
        folder,
        number,
        documents: DocumentWriter::new(&mut documents).map_err(of_documents)?,
        lineage: LineageWriter::new(&mut lineage).map_err(of_lineage)?,
        tally: Tally::default(),
        failure: failure_of_others,
    };
    decide(&mut output)?;
    let mut tally = output.finish()?;
    let (documents, lineage) = (documents.finish()?, lineage.finish()?);
    tally.cpu_seconds += (cpu_seconds() - began).max(0.0);
    let record = UnitRecord { documents, lineage, tally };
    record.put(folder, number)?;
    Ok(record)
}

/// Returns the processor time of this thread, in seconds.
fn cpu_seconds() -> f64 {
    let seconds = |time: TimeVal| time.num_microseconds() as f64 / 1e6;
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0.0, |usage| seconds(usage.user_time()) + seconds(usage.system_time()))
}
