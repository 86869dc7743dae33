//! The third step: clusters, and what becomes of each document.
//!
//! Ranks exchange sorted records through the store ([`exchange`](super::exchange)), in this order:
//!
//! 1. Edges, by a hash of the document: connected components.
//! 2. Memberships, by document: a member learns its value.
//! 3. Members, by a hash of the cluster: one of them stays.
//! 4. Questions, by the document that stays: what is known of it.
//! 5. Verdicts, by document: they are written unit by unit.
//! 6. Repeats of [`paragraphs`](super::paragraphs), by document, where they are wanted: likewise.
//!
//! A rank has one thread for all of this. All of it begins anew after a failure.

use std::cmp::Reverse;

use bytes::Bytes;
use common::storage::Folder;
use serde::{Deserialize, Serialize};
use webtext::deduplicate::record::{Decision, Edge, Member, Membership, Question, Record, Repeat, Verdict};
use webtext::deduplicate::{Clusters, Components, Content, Decisions, DeduplicateOptions, JoinError, Sorter};

use super::exchange::{Exchange, Owner, Place, by_hash};
use super::facts::AllFacts;
use super::names::{repeats_name, verdicts_name};
use super::objects::{Run, Writer, write};
use super::sources::{Sources, number, row_of, source_of};
use super::sums::{ClusterSums, LARGEST_MAX};
use crate::PrepareError;
use crate::tokenize::part;

/// Folder in the work folder of what ranks exchange.
pub const EXCHANGE_FOLDER: &str = "exchange";
/// Parts into which memory is divided: one for a sorter, one for another that was used before and still holds its own, and one for reading.
pub const PARTS_OF_MEMORY: u64 = 4;
/// Number of classes of sizes of clusters: a number of documents has 64 bits.
const CLASSES: usize = 64;

/// Finds clusters.
pub struct Clustering<'j> {
    /// Where this rank works, with a part of its memory.
    pub place: Place<'j>,
    /// All units that are compared.
    pub sources: &'j Sources,
    /// Rules.
    pub options: &'j DeduplicateOptions,
    /// Work folder.
    pub work: &'j Folder,
}

/// A cluster that may be one of the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Large {
    /// Number of its documents.
    pub documents: u64,
    /// Its name: the smallest number of its documents.
    pub cluster: u64,
    /// Document that stays.
    pub kept: u64,
}

/// Clusters that were found.
#[derive(Debug, Default)]
pub struct Found {
    /// Sums over those of all ranks, without the largest.
    pub sums: ClusterSums,
    /// The largest of all ranks; only on rank 0.
    pub largest: Vec<Large>,
}

impl<'j> Clustering<'j> {
    /// Finds the clusters of the objects `edges`, of which each is read by one rank, and writes verdicts on all documents of this stage.
    pub fn find(&self, edges: &[String]) -> Result<Found, PrepareError> {
        let mut memberships = self.memberships(edges)?;
        let mut members =
            self.sorter("members", Content::Members, |member: &Member, ranks| by_hash(member.cluster, ranks));
        let mut facts = self.facts();
        for membership in memberships.sorted()? {
            let Membership { id, cluster } = membership?;
            members.push(Member { cluster, id, value: facts.of(id)?.value })?;
        }
        drop(memberships);
        let (mut questions, counting) = self.questions(members)?;
        let mut verdicts = self.by_source("verdicts", Content::Verdicts, |verdict: &Verdict| verdict.id);
        let mut facts = self.facts();
        for question in questions.sorted()? {
            let Question { kept, id, documents } = question?;
            let of_kept = facts.of(kept)?;
            let (name, text, url, sketch) = (of_kept.name, of_kept.text, of_kept.url, of_kept.sketch);
            verdicts.push(Verdict { id, kept, documents, name, text, url, sketch })?;
        }
        drop(questions);
        self.write_verdicts(verdicts.sorted()?)?;
        self.found(counting)
    }

    /// Finds connected components.
    fn memberships(&self, edges: &[String]) -> Result<Sorter<Membership, Exchange<'j, Membership>>, PrepareError> {
        let sorter = self.exchange("edges", Content::Edges, |edge: &Edge, ranks| by_hash(edge.from, ranks));
        let mut components = Components::new(sorter, self.records_max::<Edge>());
        for name in edges.iter().skip(self.place.meetings.rank()).step_by(self.place.meetings.ranks()) {
            for edge in self.run::<Edge>(name, Content::Edges)? {
                let edge = edge?;
                components.connect(edge.from, edge.to)?;
            }
        }
        let found = components.find(|changed| Ok(self.place.meetings.sum(vec![u64::from(changed)]) != [0]))?;
        let mut memberships =
            self.by_source("memberships", Content::Memberships, |membership: &Membership| membership.id);
        for membership in found {
            memberships.push(membership?)?;
        }
        tracing::debug!("clusters after {} rounds", components.rounds());
        Ok(memberships)
    }

    /// Chooses which member of each cluster stays, and asks for what is known of it.
    fn questions(
        &self,
        mut members: Sorter<Member, Exchange<'j, Member>>,
    ) -> Result<(Sorter<Question, Exchange<'j, Question>>, Counting), PrepareError> {
        let name = format!("members-{:04}", self.place.meetings.rank());
        write(self.work, &name, Content::Members, members.sorted()?)?;
        drop(members);
        let members = || self.run::<Member>(&name, Content::Members);
        let first_new = self.sources.first_new();
        let mut questions = self.by_source("questions", Content::Questions, |question: &Question| question.kept);
        let mut counting = Counting::default();
        for decision in Decisions::new(members()?, Clusters::new(members()?, first_new)) {
            let decision = decision.map_err(|error| self.not_joined(&name, error))?;
            if decision.id >= first_new {
                let Decision { id, kept, documents, .. } = decision;
                counting.see(decision);
                questions.push(Question { kept, id, documents })?;
            }
        }
        Ok((questions, counting))
    }

    fn not_joined(&self, name: &str, error: JoinError<PrepareError>) -> PrepareError {
        match error {
            JoinError::Read(error) => error,
            error => crate::stages::damaged(self.work, name, error.to_string()),
        }
    }

    /// Writes the verdicts of each unit of this stage that belongs to this rank.
    fn write_verdicts(
        &self,
        verdicts: impl Iterator<Item = Result<Verdict, PrepareError>>,
    ) -> Result<(), PrepareError> {
        let renumbered = |verdict: Verdict| Verdict {
            id: self.renumbered(verdict.id),
            kept: self.renumbered(verdict.kept),
            ..verdict
        };
        self.write_units((verdicts_name, Content::Verdicts), verdicts, |verdict| verdict.id, renumbered)
    }

    /// Brings the repeats of paragraphs in the objects `names`, of which each is read by one rank, to the units of this stage.
    pub fn write_repeats(&self, names: &[String]) -> Result<(), PrepareError> {
        let mut repeats = self.by_source("repeats", Content::Repeats, |repeat: &Repeat| repeat.id);
        for name in names.iter().skip(self.place.meetings.rank()).step_by(self.place.meetings.ranks()) {
            for repeat in self.run::<Repeat>(name, Content::Repeats)? {
                repeats.push(repeat?)?;
            }
        }
        let renumbered = |repeat: Repeat| Repeat {
            id: self.renumbered(repeat.id),
            first_id: self.renumbered(repeat.first_id),
            ..repeat
        };
        self.write_units((repeats_name, Content::Repeats), repeats.sorted()?, |repeat| repeat.id, renumbered)
    }

    /// Writes an object for each unit of this stage that belongs to this rank, with those of the sorted `records` that are about its
    /// documents. In these objects, units have the numbers of this stage.
    fn write_units<T: Record>(
        &self,
        (name, content): (fn(u32) -> String, Content),
        records: impl Iterator<Item = Result<T, PrepareError>>,
        number: fn(&T) -> u64,
        renumbered: impl Fn(T) -> T,
    ) -> Result<(), PrepareError> {
        let mut records = records.peekable();
        for source in part(self.sources.count() as usize, self.place.meetings.rank(), self.place.meetings.ranks()) {
            let unit = self.sources.unit(source as u32);
            if !unit.is_new {
                continue;
            }
            let is_of_unit = |record: &Result<T, _>| {
                record.as_ref().map_or(true, |record| source_of(number(record)) == source as u32)
            };
            let mut writer = Writer::begin(self.work, &name(unit.unit), content)?;
            while let Some(record) = records.next_if(is_of_unit) {
                writer.push(&renumbered(record?))?;
            }
            writer.finish(0)?;
        }
        Ok(())
    }

    /// Returns the number of a document by the units of this stage. It is the largest for a document of an earlier deduplication.
    fn renumbered(&self, id: u64) -> u64 {
        let unit = self.sources.unit(source_of(id));
        if unit.is_new { number(unit.unit, row_of(id)) } else { u64::MAX }
    }

    /// Adds up what all ranks have counted.
    fn found(&self, counting: Counting) -> Result<Found, PrepareError> {
        let name = |rank: usize| format!("largest-{rank:04}.json");
        let largest = serde_json::to_vec(&counting.largest.0).unwrap_or_else(|e| unreachable!("it is JSON: {e}"));
        self.work.put(&name(self.place.meetings.rank()), Bytes::from(largest))?;
        let mut classes = vec![0; CLASSES];
        counting.sums.sizes.iter().for_each(|(size, clusters)| classes[size.ilog2() as usize] = *clusters);
        let numbers = [vec![counting.sums.clusters, counting.sums.documents], classes].concat();
        // This waits for all ranks, so their largest clusters are there.
        let numbers = self.place.meetings.sum(numbers);
        let classes = (0..CLASSES).map(|class| 1_u64 << class).zip(numbers[2..].iter().copied());
        let sizes = classes.filter(|(_, clusters)| *clusters > 0).collect();
        let sums = ClusterSums { clusters: numbers[0], documents: numbers[1], sizes, largest: Vec::new() };
        let mut largest = Largest::default();
        for rank in (0..self.place.meetings.ranks()).filter(|_| self.place.meetings.rank() == 0) {
            let of_rank: Vec<Large> = serde_json::from_slice(&self.work.get(&name(rank))?)
                .map_err(|error| crate::stages::damaged(self.work, &name(rank), error.to_string()))?;
            of_rank.into_iter().for_each(|cluster| largest.give(cluster));
        }
        Ok(Found { sums, largest: largest.0 })
    }

    fn facts(&self) -> AllFacts<'j> {
        AllFacts::new(self.sources, Content::Facts(self.options.minhash))
    }

    /// Returns a sorter whose records belong to the rank of a document's unit.
    fn by_source<T: Record + 'j>(
        &self,
        name: &str,
        content: Content,
        number: fn(&T) -> u64,
    ) -> Sorter<T, Exchange<'j, T>> {
        let count = self.sources.count() as usize;
        self.sorter(name, content, move |record, ranks| owner_of(source_of(number(record)) as usize, count, ranks))
    }

    fn sorter<T: Record + 'j>(
        &self,
        name: &str,
        content: Content,
        owner: impl Fn(&T, usize) -> usize + 'j,
    ) -> Sorter<T, Exchange<'j, T>> {
        Sorter::new(self.exchange(name, content, owner), self.records_max::<T>())
    }

    fn exchange<T: Record + 'j>(
        &self,
        name: &str,
        content: Content,
        owner: impl Fn(&T, usize) -> usize + 'j,
    ) -> Exchange<'j, T> {
        let ranks = self.place.meetings.ranks();
        let owner: Owner<'j, T> = Box::new(move |record| owner(record, ranks));
        Exchange::new(self.place, self.work.folder(EXCHANGE_FOLDER).folder(name), content, owner)
    }

    fn run<T: Record>(&self, name: &str, content: Content) -> Result<Run<'j, T>, PrepareError> {
        Run::open(self.work, name, content, self.place.progress)
    }

    fn records_max<T>(&self) -> usize {
        self.place.memory_bytes as usize / size_of::<T>().max(1)
    }
}

/// Returns the rank whose [`part`] of `count` units has this one.
fn owner_of(source: usize, count: usize, ranks: usize) -> usize {
    let (mut least, mut most) = (0, ranks.max(1));
    while most - least > 1 {
        let middle = (least + most) / 2;
        if part(count, middle, ranks).start <= source { least = middle } else { most = middle }
    }
    least
}

/// Counts clusters by the decisions about their new documents, which come together.
#[derive(Default)]
struct Counting {
    sums: ClusterSums,
    largest: Largest,
    last: Option<Large>,
}

impl Counting {
    fn see(&mut self, decision: Decision) {
        let Decision { cluster, kept, documents, .. } = decision;
        if self.last.is_none_or(|last| last.cluster != cluster) {
            self.sums.count(documents);
            let large = Large { documents, cluster, kept };
            self.largest.give(large);
            self.last = Some(large);
        }
    }
}

/// The largest of some clusters, the largest first.
#[derive(Default)]
struct Largest(Vec<Large>);

impl Largest {
    fn give(&mut self, cluster: Large) {
        let key = |large: &Large| (Reverse(large.documents), large.cluster);
        let at = self.0.partition_point(|other| key(other) <= key(&cluster));
        self.0.insert(at, cluster);
        self.0.truncate(LARGEST_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_belongs_to_the_rank_whose_part_has_it() {
        for (count, ranks) in [(1, 1), (1, 4), (3, 4), (10, 3), (64, 4), (5, 5)] {
            for rank in 0..ranks {
                for source in part(count, rank, ranks) {
                    assert_eq!(owner_of(source, count, ranks), rank, "{source} of {count} over {ranks}");
                }
            }
        }
    }
}
