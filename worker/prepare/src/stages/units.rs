//! The units of a stage, and the work on each.

use std::ops::Range;

use common::config::StageName;
use common::storage::Folder;
use webtext::clean::Cleaner;
use webtext::extract::{Extractor, Limits};

use super::clean::clean;
use super::deduplicate::Deduplication;
use super::documents::Documents;
use super::done::DoneStage;
use super::extract::extract;
use super::given::Inputs;
use super::options::ExtractCommand;
use super::output::{Output, write_unit};
use super::overlap::Overlapping;
use super::pages::{self, PageSource};
use super::plan::PlannedStage;
use super::record::UnitRecord;
use super::room::Room;
use crate::PrepareError;
use crate::failure::Failure;
use crate::progress::Progress;

/// The units of a stage.
pub enum Units<'j> {
    /// Pages become documents.
    Extract {
        /// What starts a child.
        command: ExtractCommand,
        /// Limits of extraction.
        limits: &'j Limits,
        /// Objects with pages.
        sources: Vec<PageSource>,
        /// Objects of each unit.
        units: Vec<Range<usize>>,
        /// Memory for children.
        room: Room,
    },
    /// Documents are cleaned.
    Clean {
        /// Rules.
        cleaner: Box<Cleaner>,
        /// Documents of the inputs, or of the stage before.
        documents: Documents<'j>,
    },
    /// Of documents that are equal or nearly so, one stays.
    Deduplicate(Deduplication<'j>),
    /// What documents share with evaluation sets is counted, and removed on request.
    Overlap(Overlapping<'j>),
}

impl<'j> Units<'j> {
    /// Opens what a stage reads, which is the stage `before`, or for the first stage the inputs.
    pub fn open(job: Inputs<'j>, planned: &PlannedStage, before: Option<&'j DoneStage>) -> Result<Self, PrepareError> {
        let inputs = &job.config.inputs;
        Ok(match (planned.name, before) {
            (StageName::Extract, _) => {
                let sources = PageSource::open_all(inputs, job.found, job.storage)?;
                let units = pages::units(&sources.iter().map(|source| source.bytes).collect::<Vec<_>>());
                let command = job.options.extract_command().map_err(PrepareError::System)?;
                let limits = &job.options.extract;
                let room = Room::of_this_rank(limits.memory_bytes, job.config.memory_bytes);
                Units::Extract { command, limits, sources, units, room }
            }
            (StageName::Clean, before) => {
                Units::Clean { cleaner: cleaner(job)?, documents: Documents::open(job, before)? }
            }
            (StageName::Deduplicate, before) => {
                Units::Deduplicate(Deduplication::open(job, Documents::open(job, before)?))
            }
            (StageName::Overlap, before) => {
                Units::Overlap(Overlapping::open(job, planned, Documents::open(job, before)?)?)
            }
        })
    }

    /// Returns the bytes to read of each unit, by which its work is measured.
    pub fn bytes(&self) -> Vec<u64> {
        match self {
            Units::Extract { sources, units, .. } => {
                let bytes = |unit: &Range<usize>| sources[unit.clone()].iter().map(|source| source.bytes).sum();
                units.iter().map(bytes).collect()
            }
            Units::Clean { documents, .. } => documents.bytes(),
            Units::Deduplicate(deduplication) => deduplication.bytes(),
            Units::Overlap(overlapping) => overlapping.bytes(),
        }
    }

    /// Returns what is wrong with the objects of unit `number`, which counts; `None` where all are as they were written.
    pub fn damage(&self, folder: &Folder, number: u32) -> Result<Option<String>, PrepareError> {
        match (UnitRecord::damage(folder, number)?, self) {
            (None, Units::Overlap(overlapping)) => overlapping.damage(folder, number),
            (damage, _) => Ok(damage),
        }
    }

    /// Does the units that `next` returns, one after another, on this thread, until one of the threads fails.
    pub(crate) fn do_all(
        &self,
        folder: &Folder,
        (progress, failure): (&Progress, &Failure),
        next: impl Fn() -> Option<u32>,
    ) -> Result<(), PrepareError> {
        // A child serves a thread for all of its units.
        let mut extractor = match self {
            Units::Extract { command, limits, room, .. } => {
                room.enter();
                let command = command.clone();
                Some(Extractor::new(move || command(), (*limits).clone()).map_err(PrepareError::System)?)
            }
            _ => None,
        };
        while let Some(number) = next().filter(|_| !failure.is_set()) {
            write_unit(folder, number, failure, |output| {
                self.decide((folder, number), extractor.as_mut(), output, progress)
            })?;
        }
        Ok(())
    }

    fn decide(
        &self,
        (folder, number): (&Folder, u32),
        extractor: Option<&mut Extractor>,
        output: &mut Output<'_, '_>,
        progress: &Progress,
    ) -> Result<(), PrepareError> {
        let at = number as usize;
        match self {
            Units::Extract { limits, sources, units, .. } => {
                let Some(extractor) = extractor else { unreachable!("the stage extract has one") };
                let before = extractor.cpu_seconds();
                for source in &sources[units[at].clone()] {
                    extract(source, limits, extractor, output, progress)?;
                }
                output.took(extractor.cpu_seconds() - before);
                Ok(())
            }
            Units::Clean { cleaner, documents } => clean((documents, number), cleaner, output, progress),
            Units::Deduplicate(deduplication) => deduplication.decide(folder, number, output, progress),
            Units::Overlap(overlapping) => overlapping.decide((folder, number), output, progress),
        }
    }
}

fn cleaner(job: Inputs<'_>) -> Result<Box<Cleaner>, PrepareError> {
    Ok(Box::new(job.options.cleaner()?))
}
