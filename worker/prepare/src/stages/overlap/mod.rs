//! The stage `overlap`: what documents share with evaluation sets is counted, and on request removed.
//!
//! Text becomes lower-cased words, and eight words in a row are a gram (`evaluation::overlap`). Every rank reads the evaluation
//! sets when the stage begins. A document overlaps with them where its grams are theirs. Which grams of the sets were seen is
//! an object of each unit; at the end of the stage rank 0 unites these, and makes a table like the paper's table 6.
//!
//! - [`options`]: what is looked for, and what is removed.
//! - [`sets`]: evaluation sets. [`table`]: their grams.
//! - [`scan`]: where a document overlaps. [`windows`]: a text without these places. [`decide`]: what becomes of a document.
//! - [`seen`]: what a unit has seen, as an object. [`sums`]: what is told of the stage. [`longest`]: overlaps that are shown.
//!
//! Absent on purpose: how a data file becomes items, and words become grams, which is in the package `evaluation`.

mod decide;
pub mod longest;
pub mod options;
mod scan;
mod seen;
pub mod sets;
pub mod sums;
mod table;
mod windows;

#[cfg(test)]
mod tests;

use common::storage::Folder;
use common::threads;

use self::options::OverlapOptions;
use self::seen::SeenRecord;
use self::sets::{TestSets, read_sets};
use self::sums::{OverlapSums, Uniting};
use super::documents::Documents;
use super::given::Inputs;
use super::output::Output;
use super::plan::PlannedStage;
use crate::PrepareError;
use crate::progress::Progress;

/// Number of units' records that are in memory at once while they are united.
const RECORDS_AT_ONCE: usize = 8;

/// The stage, for a job.
pub struct Overlapping<'j> {
    documents: Documents<'j>,
    options: &'j OverlapOptions,
    sets: TestSets,
}

impl<'j> Overlapping<'j> {
    /// Opens what the stage reads: `documents`, and the evaluation sets, which must be those of the plan.
    pub fn open(job: Inputs<'j>, planned: &PlannedStage, documents: Documents<'j>) -> Result<Self, PrepareError> {
        let options = &job.options.overlap;
        let sets = TestSets::new(read_sets(options, job.storage)?)?;
        match planned.sets == Some(sets.sha256()) {
            true => Ok(Overlapping { documents, options, sets }),
            false => Err(PrepareError::TestSets(
                "the evaluation sets differ from those that rank 0 has planned with; give the same files to all ranks, and start \
                 when nothing writes them"
                    .to_owned(),
            )),
        }
    }

    /// Returns the bytes to read of each unit.
    pub fn bytes(&self) -> Vec<u64> {
        self.documents.bytes()
    }

    /// Decides about the documents of unit `number`, and puts what it has seen of the sets into `folder`.
    pub fn decide(
        &self,
        (folder, number): (&Folder, u32),
        output: &mut Output<'_, '_>,
        progress: &Progress,
    ) -> Result<(), PrepareError> {
        let seen = decide::decide((&self.documents, number), (&self.sets, self.options), output, progress)?;
        seen.put(folder, number)
    }

    /// Returns what is wrong with what unit `number` has seen; `None` where it is as it was written.
    pub fn damage(&self, folder: &Folder, number: u32) -> Result<Option<String>, PrepareError> {
        SeenRecord::damage(folder, number, self.sets.distinct_grams())
    }

    /// Returns the sums over all of `count` units, which are done.
    pub fn sums(&self, folder: &Folder, count: u32) -> Result<OverlapSums, PrepareError> {
        let numbers: Vec<u32> = (0..count).collect();
        let get = |number: &u32| SeenRecord::get(folder, *number, self.sets.distinct_grams());
        let mut uniting = Uniting::new(&self.sets);
        for some in numbers.chunks(folder.concurrency().clamp(1, RECORDS_AT_ONCE)) {
            for record in threads::map(some, some.len(), get) {
                uniting.add(record?);
            }
        }
        Ok(uniting.finish())
    }
}
