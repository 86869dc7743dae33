//! The stage `deduplicate`: of documents that are equal or nearly so, one stays.
//!
//! What is compared, and how, is in the package `webtext`. Here it is done over ranks and threads, in bounded memory, by sorting objects
//! in the folder `work` of the stage:
//!
//! 1. [`keys`]: all ranks read the units, a group after the other, and write keys and signatures.
//! 2. [`edges`]: ranks divide the bands, and bring equal keys together.
//! 3. [`clusters`]: ranks exchange sorted runs ([`exchange`]) until it is known for each document whether it stays.
//! 4. [`paragraphs`], where the config asks for it: ranks divide the keys of paragraphs, and find those that are there before.
//! 5. [`decide`]: a unit's documents are kept or dropped, as in every stage.
//!
//! After a failure, what counts of the first two steps and of the last is not done again; the others are. What comes out depends neither
//! on ranks, threads and memory nor on failures.
//!
//! - [`sources`]: the numbers of documents, and units of earlier deduplications. [`spaces`]: by what documents are compared.
//! - [`objects`]: sorted records as objects. [`names`]: what they are called. [`facts`]: what is known of documents by their numbers.
//! - [`sums`]: what is told of clusters.

mod clusters;
mod decide;
mod edges;
mod exchange;
mod facts;
mod keys;
mod names;
mod objects;
mod paragraphs;
mod sources;
mod spaces;
pub mod sums;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ops::Range;

use bytes::Bytes;
use common::config::StorageConfig;
use common::storage::Folder;
use common::threads;
use common::worker_contract::PreparePhase;
use serde::{Deserialize, Serialize};
use webtext::deduplicate::{Content, DeduplicateOptions, Signer};

use self::clusters::{Clustering, EXCHANGE_FOLDER, Found, PARTS_OF_MEMORY};
use self::edges::SpaceRecord;
use self::exchange::Place;
use self::facts::AllFacts;
use self::keys::{GroupRecord, Keys};
use self::names::{CLUSTERS_NAME, SOURCES_NAME, WORK_FOLDER};
use self::paragraphs::{Dropped, PARTS, PartRecord};
use self::sources::{Sources, old_units, row_of, source_of};
use self::spaces::Space;
use self::sums::{ClusterSums, LargeCluster};
use super::bounded::{beginning, cut};
use super::documents::{Documents, Read};
use super::given::Inputs;
use super::lineage::line::id_in_words;
use super::output::Output;
use super::tally::START_BYTES_MAX;
use crate::PrepareError;
use crate::failure::Failure;
use crate::meetings::Meetings;
use crate::progress::{Audience, PhaseWork, Progress};
use crate::ranks::Ranks;
use crate::stages::bounded::URL_BYTES_MAX;
use crate::tokenize::share_of_bytes;

/// Bytes that ranks read and write for each edge, about: in both directions, for a few rounds.
const ESTIMATED_BYTES: u64 = 16 * 2 * 8;

/// The stage, for a job.
pub struct Deduplication<'j> {
    documents: Documents<'j>,
    options: &'j DeduplicateOptions,
    storage: &'j StorageConfig,
    memory_bytes: u64,
}

/// What of the work is done, by the list of its objects.
#[derive(Serialize, Deserialize)]
struct State {
    /// Whether all verdicts are there.
    has_verdicts: bool,
    /// Groups of units whose keys are there.
    groups: Vec<u32>,
    /// Places of spaces whose edges are there.
    spaces: Vec<usize>,
    /// Parts of the keys of paragraphs whose repeats are there.
    parts: Vec<usize>,
}

/// What the steps work with.
struct Comparison<'c> {
    of: &'c Deduplication<'c>,
    sources: Sources,
    groups: Vec<Range<u32>>,
    spaces: Vec<Space>,
    work: Folder,
    threads: usize,
}

impl<'j> Deduplication<'j> {
    /// Opens what the stage reads.
    pub fn open(job: Inputs<'j>, documents: Documents<'j>) -> Self {
        let (options, storage) = (&job.options.deduplicate, job.storage);
        Deduplication { documents, options, storage, memory_bytes: job.config.memory_bytes }
    }

    /// Returns the bytes to read of each unit.
    pub fn bytes(&self) -> Vec<u64> {
        self.documents.bytes()
    }

    /// Does the first three steps, as far as they are left, over all ranks.
    pub fn compare(
        &self,
        folder: &Folder,
        (ranks, threads): (&Ranks, usize),
        audience: &mut dyn Audience,
    ) -> Result<(), PrepareError> {
        let old = ranks.share("what is compared with", || old_units(self.options, self.storage))?;
        let sources = Sources::new((&old, self.options), self.storage, (folder, self.documents.bytes()))?;
        let (groups, spaces, work) = (sources.groups(), Space::all(self.options), folder.folder(WORK_FOLDER));
        let comparison = Comparison { of: self, sources, groups, spaces, work, threads };
        let state = ranks.share("the state of a deduplication", || comparison.state())?;
        if state.has_verdicts {
            return Ok(());
        }
        comparison.keys(&state, ranks, audience)?;
        comparison.edges(&state, ranks, audience)?;
        comparison.clusters(&state, ranks, audience)
    }

    /// Decides about the documents of unit `number`.
    pub fn decide(
        &self,
        folder: &Folder,
        number: u32,
        output: &mut Output<'_, '_>,
        progress: &Progress,
    ) -> Result<(), PrepareError> {
        decide::decide((&self.documents, number), folder, self.options, output, progress)
    }
}

/// Checks that there are the earlier deduplications that the `options` name, and returns the URLs of their folders.
pub fn compared_with(options: &DeduplicateOptions, storage: &StorageConfig) -> Result<Vec<String>, PrepareError> {
    old_units(options, storage)?;
    options.against.iter().map(|url| Ok(Folder::open(url, storage)?.url().to_owned())).collect()
}

/// Returns the sums over the clusters of a stage that is not done yet, but whose units are.
pub fn sums_of(folder: &Folder) -> Result<ClusterSums, PrepareError> {
    let work = folder.folder(WORK_FOLDER);
    serde_json::from_slice(&work.get(CLUSTERS_NAME)?)
        .map_err(|error| super::damaged(&work, CLUSTERS_NAME, error.to_string()))
}

/// Removes what is not needed when a stage is done.
pub fn remove_work(folder: &Folder) -> Result<(), PrepareError> {
    let work = folder.folder(WORK_FOLDER);
    work.delete_all()?;
    work.remove_if_empty();
    Ok(())
}

impl Comparison<'_> {
    /// Looks at what is done, and removes what ranks have exchanged before.
    fn state(&self) -> Result<State, PrepareError> {
        self.check_sources()?;
        self.work.folder(EXCHANGE_FOLDER).delete_all()?;
        let names: HashSet<String> = self.work.list()?.into_iter().map(|object| object.name).collect();
        let groups = (0..self.groups.len() as u32).filter(|group| names.contains(&GroupRecord::name(*group))).collect();
        let spaces = (0..self.spaces.len()).filter(|at| names.contains(&SpaceRecord::name(self.spaces[*at]))).collect();
        let parts = (0..PARTS).filter(|part| names.contains(&PartRecord::name(*part))).collect();
        Ok(State { has_verdicts: names.contains(CLUSTERS_NAME), groups, spaces, parts })
    }

    /// Checks that what is done was done with these units: those of an earlier deduplication may have changed.
    fn check_sources(&self) -> Result<(), PrepareError> {
        let hash = self.sources.hash().to_string();
        match self.work.get_if_exists(SOURCES_NAME)? {
            None => Ok(self.work.put(SOURCES_NAME, Bytes::from(hash))?),
            Some(found) if found == hash.as_bytes() => Ok(()),
            Some(_) => {
                let reason = "a folder of webtext.deduplicate.against has changed since this job began".to_owned();
                let (url, folder) = (self.work.url_of(SOURCES_NAME), self.sources.folder().url().to_owned());
                Err(PrepareError::Work { url, folder, reason })
            }
        }
    }

    fn keys(&self, state: &State, ranks: &Ranks, audience: &mut dyn Audience) -> Result<(), PrepareError> {
        let signer = self.signer()?;
        let bytes: Vec<u64> = self.groups.iter().map(|group| self.sources.bytes_of(group)).collect();
        let is_done = |group: u32| state.groups.contains(&group);
        let share = share_of_bytes(&bytes, is_done, ranks.rank(), ranks.count());
        let phase = PhaseWork {
            phase: PreparePhase::Signing,
            total: bytes.iter().sum(),
            done_before: state.groups.iter().map(|group| bytes[*group as usize]).sum(),
        };
        let threads = self.threads.clamp(1, share.len().max(1));
        let keys = Keys {
            documents: &self.of.documents,
            sources: &self.sources,
            options: self.of.options,
            signer: signer.as_ref(),
            work: &self.work,
            memory_bytes: self.of.memory_bytes / threads as u64,
        };
        ranks.run(phase, audience, |progress| {
            each(&share, threads, |group| keys.make((*group, &self.groups[*group as usize]), progress))
        })
    }

    fn signer(&self) -> Result<Option<Signer>, PrepareError> {
        let options = self.of.options;
        // Options that were read have no faults.
        let signer = |_| {
            let faults = |error| PrepareError::Config(super::options::refused_minhash(error));
            Signer::new(options.minhash).map_err(faults)
        };
        options.near.then_some(()).map(signer).transpose()
    }

    fn edges(&self, state: &State, ranks: &Ranks, audience: &mut dyn Audience) -> Result<(), PrepareError> {
        let groups = self.records()?;
        let bytes = |at: &usize| groups.iter().map(|group| group.bytes(*at)).sum::<u64>();
        let left = (0..self.spaces.len()).filter(|at| !state.spaces.contains(at));
        let share: Vec<usize> = left.skip(ranks.rank()).step_by(ranks.count()).collect();
        let total = (0..self.spaces.len()).map(|at| bytes(&at)).sum();
        let done_before = state.spaces.iter().map(bytes).sum();
        let phase = PhaseWork { phase: PreparePhase::Pairing, total, done_before };
        let threads = self.threads.clamp(1, share.len().max(1));
        let memory_bytes = self.of.memory_bytes / threads as u64;
        ranks.run(phase, audience, |progress| {
            each(&share, threads, |at| {
                let space = self.spaces[*at];
                let names = (0..).zip(&groups).flat_map(|(number, group)| group.names(number, (*at, space)));
                edges::make(&self.work, (space, names.collect()), self.of.options, (memory_bytes, progress))
            })
        })
    }

    /// Reads the records of all groups.
    fn records(&self) -> Result<Vec<GroupRecord>, PrepareError> {
        let numbers: Vec<u32> = (0..self.groups.len() as u32).collect();
        let get = |group: &u32| GroupRecord::get(&self.work, *group, self.spaces.len());
        threads::map(&numbers, self.work.concurrency(), get).into_iter().collect()
    }

    fn clusters(&self, state: &State, ranks: &Ranks, audience: &mut dyn Audience) -> Result<(), PrepareError> {
        let (mut names, mut count) = (Vec::new(), 0);
        for space in &self.spaces {
            let (of_space, edges) = SpaceRecord::names(&self.work, *space)?;
            names.extend(of_space);
            count += edges;
        }
        // How many rounds there will be is not known.
        let total = count.saturating_mul(ESTIMATED_BYTES);
        let mut found = None;
        let phase = PhaseWork { phase: PreparePhase::Clustering, total, done_before: 0 };
        ranks.run_together(phase, audience, |progress, meetings| {
            found = Some(self.clustering(progress, meetings).find(&names)?);
            Ok::<_, PrepareError>(())
        })?;
        if self.of.options.paragraphs {
            self.paragraphs(state, ranks, audience)?;
        }
        ranks.share("the clusters of a deduplication", || self.finish(found))
    }

    fn clustering<'c>(&'c self, progress: &'c Progress, meetings: &'c Meetings) -> Clustering<'c> {
        let place = Place { meetings, progress, memory_bytes: self.of.memory_bytes / PARTS_OF_MEMORY };
        Clustering { place, sources: &self.sources, options: self.of.options, work: &self.work }
    }

    /// Finds paragraphs that are there before. Verdicts are there, of all ranks.
    fn paragraphs(&self, state: &State, ranks: &Ranks, audience: &mut dyn Audience) -> Result<(), PrepareError> {
        let groups = self.records()?;
        let left = (0..PARTS).filter(|part| !state.parts.contains(part));
        let share: Vec<usize> = left.skip(ranks.rank()).step_by(ranks.count()).collect();
        let bytes: u64 = groups.iter().map(GroupRecord::paragraph_bytes).sum();
        let done_before = bytes / PARTS as u64 * state.parts.len() as u64;
        let phase = PhaseWork { phase: PreparePhase::Pairing, total: bytes, done_before };
        let threads = self.threads.clamp(1, share.len().max(1));
        let memory_bytes = self.of.memory_bytes / threads as u64;
        ranks.run(phase, audience, |progress| {
            let dropped = Dropped::read(&self.work, &self.sources, progress)?;
            each(&share, threads, |part| {
                let names = (0..).zip(&groups).flat_map(|(number, group)| group.paragraphs(number, *part));
                paragraphs::make(&self.work, (*part, names.collect()), &dropped, (memory_bytes, progress))
            })
        })?;
        let names = (0..PARTS).map(|part| PartRecord::names(&self.work, part)).collect::<Result<Vec<_>, _>>()?.concat();
        let phase = PhaseWork { phase: PreparePhase::Clustering, total: 0, done_before: 0 };
        ranks.run_together(phase, audience, |progress, meetings| {
            self.clustering(progress, meetings).write_repeats(&names)
        })
    }

    /// Names the largest clusters, and makes the verdicts count.
    fn finish(&self, found: Option<Found>) -> Result<(), PrepareError> {
        let found = found.unwrap_or_default();
        let mut largest = Vec::new();
        for large in found.largest {
            // These do not come in the order of their numbers.
            let known = AllFacts::new(&self.sources, Content::Facts(self.of.options.minhash)).of(large.kept)?;
            let (url, start) = self.shown(large.kept)?;
            largest.push(LargeCluster { documents: large.documents, kept: id_in_words(known.name), url, start });
        }
        let sums = ClusterSums { largest, ..found.sums };
        let sums = serde_json::to_vec(&sums).unwrap_or_else(|e| unreachable!("sums are JSON: {e}"));
        Ok(self.work.put(CLUSTERS_NAME, Bytes::from(sums))?)
    }

    /// Returns the URL and the beginning of a document of this stage.
    fn shown(&self, number: u64) -> Result<(Option<String>, String), PrepareError> {
        let unit = self.sources.unit(source_of(number));
        if !unit.is_new {
            return Ok((None, String::new()));
        }
        let (mut row, mut shown) = (0, None);
        let read = self.of.documents.read(unit.unit, &Progress::default(), |read| {
            let Read::Document(mut document) = read else { return Ok(()) };
            if row == row_of(number) {
                document.url.iter_mut().for_each(|url| cut(url, URL_BYTES_MAX));
                shown = Some((document.url, beginning(&document.text, START_BYTES_MAX).to_owned()));
                // The rest of the unit is not needed.
                return Err(PrepareError::Stopped);
            }
            row += 1;
            Ok(())
        });
        match (read, shown) {
            (_, Some(shown)) => Ok(shown),
            (Err(error), None) => Err(error),
            (Ok(()), None) => Ok((None, String::new())),
        }
    }
}

/// Does `work` with all `items`, on several threads, until one fails.
fn each<T: Sync>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<(), PrepareError> + Sync,
) -> Result<(), PrepareError> {
    let failure = Failure::default();
    threads::map(items, threads, |item| {
        if !failure.is_set() {
            work(item).unwrap_or_else(|error| failure.set(error));
        }
    });
    failure.into_result()
}
