//! Which checkpoints count: those of the newest attempt that has begun, and those that it continues.
//!
//! Before an attempt commits anything, it puts what it continues: the checkpoint that it started from, and everything that
//! the attempt of that checkpoint continued. One small object, found by the name of a claim, therefore tells the whole
//! lineage. No stale listing can hide a part of it, and nothing that older attempts put late can change it. Before an
//! attempt deletes anything, it says in another object which checkpoint stays. A listing that lacks that checkpoint then
//! lets nobody continue from what is deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::claim::{ATTEMPTS_FOLDER, Claim};
use super::claims::{Claims, claim_number, fence, read_claim};
use super::error::AttemptError;
use super::surroundings::{Surroundings, blocking};
use crate::checkpoint_layout::{CHECKPOINTS_FOLDER, CheckpointName};
use crate::metrics::RunMetrics;
use crate::storage::{Folder, ObjectInfo, StorageError};

/// Suffix of the name of the object that tells what an attempt continues.
const FROM: &str = "from";
/// Suffix of the name of the object that tells which checkpoint an attempt keeps.
const KEPT: &str = "kept";
/// Separator between an attempt's number and the checkpoint that it started from, in objects of older versions.
const STARTED_FROM: &str = ".from.";
/// Stands for a checkpoint's name where an attempt of an older version started from the beginning.
const NOTHING: &str = "nothing";
/// Number of attempts that a lineage goes back. Checkpoints of older ones have long been pruned.
const LINEAGE_MAX: usize = 1000;

/// The checkpoints of a run that count, and those that are void.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    newest: u32,
    /// Newest attempt that has begun, and what it continues.
    begun: Option<Beginning>,
    /// Checkpoint that was committed when the attempt recorded it: the newest or an earlier one.
    kept: Option<CheckpointName>,
    /// Checkpoint that each attempt of an older version started from, unless an attempt has begun since.
    starts: BTreeMap<u32, Option<CheckpointName>>,
}

/// What an attempt continues, or which checkpoint it keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Record", into = "Record")]
struct Beginning {
    claim: Claim,
    /// Last checkpoint of each attempt that this one continues, beginning with the one that it started from.
    from: Vec<CheckpointName>,
}

/// Stored form of a [`Beginning`], in `attempts/NNNN.TAG.from` and `.kept`.
#[derive(Serialize, Deserialize)]
struct Record {
    attempt: u32,
    id: String,
    from: Vec<String>,
}

impl From<Beginning> for Record {
    fn from(beginning: Beginning) -> Self {
        let Beginning { claim, from } = beginning;
        Record { attempt: claim.number, id: claim.id, from: from.iter().map(CheckpointName::to_string).collect() }
    }
}

impl TryFrom<Record> for Beginning {
    type Error = &'static str;

    fn try_from(record: Record) -> Result<Self, Self::Error> {
        let from = record.from.iter().map(|name| CheckpointName::parse(name)).collect::<Option<_>>();
        let from = from.ok_or("a name is not a checkpoint's")?;
        Ok(Beginning { claim: Claim { number: record.attempt, id: record.id }, from })
    }
}

impl Beginning {
    fn name(number: u32, tag: &str, what: &str) -> String {
        format!("{ATTEMPTS_FOLDER}/{number:04}.{tag}.{what}")
    }

    /// Reads what the attempt with this number and tag has put. Returns `None` if it has not, or if the object cannot be read.
    async fn read(run: &impl Surroundings, number: u32, tag: &str, what: &str) -> Result<Option<Self>, StorageError> {
        let content = run.read(&Self::name(number, tag, what)).await?;
        let beginning = content.and_then(|content| serde_json::from_slice::<Beginning>(&content).ok());
        Ok(beginning.filter(|found| found.claim.number == number && found.claim.tag() == tag))
    }

    /// Returns whether `name` is a part of the run as this attempt continues it.
    fn includes(&self, name: &CheckpointName) -> bool {
        let continues = |last: &CheckpointName| last.is_of_the_attempt_of(name) && name.step <= last.step;
        self.claim.has_saved(name) || self.from.iter().any(continues)
    }
}

impl History {
    /// Reads the history of `run`.
    pub fn read(run: &Folder) -> Result<Self, StorageError> {
        blocking(Self::of(run))
    }

    pub(crate) async fn of(run: &impl Surroundings) -> Result<Self, StorageError> {
        let listed = run.list(ATTEMPTS_FOLDER).await?;
        let claims = Claims::among(run, &listed).await?;
        let mut starts = starts_among(&listed);
        starts.retain(|number, _| *number <= claims.number());
        let begun_before = starts.last_key_value().map_or(0, |(number, _)| *number);
        let mut history = History { newest: claims.number(), starts, ..History::default() };
        let numbers: BTreeSet<u32> = listed.iter().filter_map(|object| claim_number(&object.name)).collect();
        let mut number = history.newest;
        while number > begun_before {
            let Some(claim) = read_claim(run, number).await? else {
                // Somebody has deleted claims.
                number = numbers.range(..number).next_back().map_or(0, |number| *number);
                continue;
            };
            // A claim of an earlier run in this folder continues nothing of this run.
            if claim.is_of(claims.first.as_ref()) && history.take(run, &claim.claim()).await? {
                break;
            }
            number -= 1;
        }
        Ok(history)
    }

    /// Takes over what the attempt of `claim` continues. Returns false if the attempt has not begun.
    async fn take(&mut self, run: &impl Surroundings, claim: &Claim) -> Result<bool, StorageError> {
        let begun = Beginning::read(run, claim.number, claim.tag(), FROM).await?;
        let Some(begun) = begun.filter(|begun| begun.claim == *claim) else { return Ok(false) };
        let kept = Beginning::read(run, claim.number, claim.tag(), KEPT).await?.unwrap_or_else(|| begun.clone());
        self.kept = kept.from.into_iter().next();
        self.begun = Some(begun);
        Ok(true)
    }

    /// Returns whether the newest attempt that has begun is that of `claim`.
    pub(crate) fn is_of(&self, claim: &Claim) -> bool {
        self.begun.as_ref().is_some_and(|begun| begun.claim == *claim)
    }

    /// Returns the checkpoint that was recorded as kept, which a stale listing may lack.
    pub(crate) fn kept(&self) -> Option<&CheckpointName> {
        self.kept.as_ref()
    }

    /// Returns the history of a run in which the attempt of `claim` has begun, and continues `from`.
    #[cfg(test)]
    pub(crate) fn begun(claim: Claim, from: Vec<CheckpointName>) -> Self {
        History { newest: claim.number, begun: Some(Beginning { claim, from }), ..History::default() }
    }

    /// Returns whether the newest attempt, if there is one, has begun.
    pub(crate) fn has_newest_begun(&self) -> bool {
        let begun = self.begun.as_ref().map_or(0, |begun| begun.claim.number);
        begun == self.newest || self.starts.contains_key(&self.newest)
    }

    /// Returns the number of the newest attempt, or 0 if there is none.
    pub fn newest(&self) -> u32 {
        self.newest
    }

    /// Returns whether a checkpoint does not count, because the newest attempt that has begun does not continue it.
    pub fn is_void(&self, name: &CheckpointName) -> bool {
        if let Some(begun) = &self.begun {
            return !begun.includes(name);
        }
        // A newer attempt of an older version continued from an earlier checkpoint.
        let place = |name: &CheckpointName| (name.step, name.attempt);
        let mut later = self.starts.iter().filter(|(attempt, _)| **attempt > name.attempt);
        later.any(|(_, start)| start.as_ref().is_none_or(|start| place(name) > place(start)))
    }

    /// Returns the last step of attempt `number` that counts, if this history tells: [`u64::MAX`] if all of them do, and 0 if
    /// none does. `tag` is that of the attempt's claim, if it is known.
    ///
    /// A later step was left behind: a later attempt went on from an earlier checkpoint, by itself or because a person has
    /// gone back.
    pub fn last_step_of(&self, number: u32, tag: Option<&str>) -> Option<u64> {
        let is_it = |of: Option<&str>| of.is_none() || tag.is_none() || of == tag;
        if let Some(begun) = &self.begun {
            if begun.claim.number == number && is_it(Some(begun.claim.tag())) {
                return Some(u64::MAX);
            }
            let continued = begun.from.iter().filter(|last| last.attempt == number && is_it(last.tag()));
            return Some(continued.map(|last| last.step).max().unwrap_or(0));
        }
        let later = self.starts.range((Bound::Excluded(number), Bound::Unbounded)).map(|(_, start)| match start {
            None => 0,
            Some(start) if start.attempt >= number => start.step,
            Some(start) => start.step.saturating_sub(1),
        });
        (!self.starts.is_empty()).then(|| later.min().unwrap_or(u64::MAX))
    }

    /// Returns whether the newest attempt that has begun started from `name`: a person, or an attempt, has chosen that
    /// checkpoint.
    pub fn starts_from(&self, name: &CheckpointName) -> bool {
        self.begun.as_ref().is_some_and(|begun| begun.from.first() == Some(name))
    }

    /// Returns the last step that attempts before number `before` are known to have saved, in the run as the newest attempt
    /// that has begun continues it, according to records other than the checkpoints themselves. Returns `None` if no such
    /// step is known, also if that attempt began from nothing and has committed nothing.
    pub fn saved_step(&self, run: &Folder, before: u32) -> Result<Option<u64>, StorageError> {
        let begun = self.begun.iter().flat_map(|begun| &begun.from).chain(&self.kept).map(|name| name.step).max();
        let of_older_version = self.starts.values().next_back().and_then(Option::as_ref).map(|name| name.step);
        // A checkpoint saved before an attempt that has begun is in its lineage, or void.
        let since = self.begun.as_ref().map(|begun| begun.claim.number);
        let since = since.or(self.starts.keys().next_back().copied()).unwrap_or(0);
        let saved = RunMetrics::saved_by(run, since..before)?;
        Ok(begun.into_iter().chain(of_older_version).chain(saved).max())
    }

    /// Returns the lineage of an attempt that starts from `start`, given this history.
    async fn lineage(
        &self,
        run: &impl Surroundings,
        start: &CheckpointName,
    ) -> Result<Vec<CheckpointName>, StorageError> {
        let mut lineage = vec![start.clone()];
        let begun = match start.tag() {
            Some(tag) => Beginning::read(run, start.attempt, tag, FROM).await?,
            None => None,
        };
        match begun {
            Some(begun) => lineage.extend(begun.from),
            // The start is of an older version, or was copied from another run: it continues all that counts and is not newer.
            None => lineage.extend(self.last_of_each_attempt(run, start).await?),
        }
        lineage.truncate(LINEAGE_MAX);
        Ok(lineage)
    }

    /// Returns, for each attempt except that of `start`, its last checkpoint that counts and is not newer than `start`.
    async fn last_of_each_attempt(
        &self,
        run: &impl Surroundings,
        start: &CheckpointName,
    ) -> Result<Vec<CheckpointName>, StorageError> {
        let objects = run.list(CHECKPOINTS_FOLDER).await?;
        let committed: BTreeSet<_> =
            objects.iter().filter_map(|object| CheckpointName::committed_by(&object.name)).collect();
        let is_before =
            |name: &CheckpointName| name <= start && !name.is_of_the_attempt_of(start) && !self.is_void(name);
        let mut last: Vec<CheckpointName> = Vec::new();
        for name in committed.into_iter().rev().filter(is_before) {
            if !last.iter().any(|later| later.is_of_the_attempt_of(&name)) {
                last.push(name);
            }
        }
        Ok(last)
    }
}

/// Returns what attempts of older versions started from, by the names in `objects`, the listing of a run's `attempts/`.
fn starts_among(objects: &[ObjectInfo]) -> BTreeMap<u32, Option<CheckpointName>> {
    objects.iter().filter_map(|object| parse_start(&object.name)).collect()
}

fn parse_start(name: &str) -> Option<(u32, Option<CheckpointName>)> {
    let (number, start) = name.split_once(STARTED_FROM)?;
    let start = if start == NOTHING { None } else { Some(CheckpointName::parse(start)?) };
    let number = claim_number(&format!("{number}.json"))?;
    Some((number, start))
}

/// Records in `run` what the attempt of `claim` starts from, before the attempt commits anything.
pub fn record_start(run: &Folder, claim: &Claim, start: Option<&CheckpointName>) -> Result<(), AttemptError> {
    blocking(begin(run, claim, start))
}

/// Records in any surroundings what the attempt of `claim` starts from.
pub(crate) async fn begin(
    run: &impl Surroundings,
    claim: &Claim,
    start: Option<&CheckpointName>,
) -> Result<(), AttemptError> {
    let from = match start {
        Some(start) => History::of(run).await?.lineage(run, start).await?,
        None => Vec::new(),
    };
    fence(run, claim).await?;
    let (name, json) = stored(claim, FROM, from);
    Ok(run.create(&name, json).await?)
}

/// Records in `run` that `newest` stays, before the attempt of `claim` deletes anything.
pub(crate) async fn keep(run: &impl Surroundings, claim: &Claim, newest: &CheckpointName) -> Result<(), StorageError> {
    let (name, json) = stored(claim, KEPT, vec![newest.clone()]);
    run.put(&name, json).await
}

/// Returns the name and content of an object that the attempt of `claim` puts.
fn stored(claim: &Claim, what: &str, from: Vec<CheckpointName>) -> (String, Bytes) {
    let record = Beginning { claim: claim.clone(), from };
    let json = serde_json::to_vec_pretty(&record).unwrap_or_else(|e| unreachable!("a record is JSON: {e}"));
    (Beginning::name(claim.number, claim.tag(), what), Bytes::from(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> ObjectInfo {
        ObjectInfo { name: name.into(), bytes: 1, version: String::new(), changed_unix_s: 0 }
    }

    fn name(step: u64, attempt: u32) -> CheckpointName {
        CheckpointName { step, attempt, id: "x1".into() }
    }

    fn claim(number: u32, id: &str) -> Claim {
        Claim { number, id: id.repeat(16) }
    }

    #[test]
    fn names_of_older_versions_tell_what_each_attempt_started_from() {
        let names = [
            "0001.json",
            "0001.alive",
            "0001.from.nothing",
            "0002.from.step-00000010-a0001-x1",
            "0003.from.step-10",
            "4.from.nothing",
            "4294967295.from.nothing",
            "0005.5c0e9d7b.from",
            "notes.txt",
        ];
        assert_eq!(starts_among(&names.map(object)), BTreeMap::from([(1, None), (2, Some(name(10, 1)))]));
    }

    #[test]
    fn what_lies_above_the_start_of_a_newer_attempt_of_an_older_version_is_void() {
        // 1 saved 10, 20 and 30. 2 continued from 10, since the others were damaged, and saved 20. 3 continued from that.
        // Meanwhile 1 was suspended, and commits 40 at last; 2 did not hear of 3, and commits 30.
        let starts = [(1, None), (2, Some(name(10, 1))), (3, Some(name(20, 2)))];
        let history = History { newest: 3, starts: starts.into(), ..History::default() };
        for (checkpoint, is_void) in [
            (name(10, 1), false),
            (name(20, 1), true),
            (name(30, 1), true),
            (name(40, 1), true),
            (name(20, 2), false),
            (name(30, 2), true),
            (name(30, 3), false),
        ] {
            assert_eq!(history.is_void(&checkpoint), is_void, "{checkpoint}");
        }
        // The last step of each attempt that counts says the same.
        for (number, last) in [(1, 10), (2, 20), (3, u64::MAX), (4, u64::MAX)] {
            assert_eq!(history.last_step_of(number, None), Some(last), "{number}");
        }
        assert_eq!(History { newest: 9, ..History::default() }.last_step_of(1, None), None);
        // An attempt that has claimed the run, and not started yet, voids nothing.
        assert!(!History { newest: 9, ..History::default() }.is_void(&name(10, 1)));
        // An attempt that began anew voids all.
        assert!(History { newest: 2, starts: [(2, None)].into(), ..History::default() }.is_void(&name(10, 1)));
    }

    #[test]
    fn what_counts_is_the_newest_attempts_and_what_it_continues() {
        // 3 continued from 20 of 2, which continued from 10 of an attempt of an older version.
        let [one, two, three] = [claim(1, "a"), claim(2, "b"), claim(3, "c")];
        let from = vec![two.name_checkpoint(20, "00000000"), name(10, 1)];
        let history = History::begun(three.clone(), from);
        let other = claim(3, "d");
        for (checkpoint, is_void) in [
            (three.name_checkpoint(30, "11111111"), false),
            (other.name_checkpoint(30, "11111111"), true),
            (two.name_checkpoint(10, "11111111"), false),
            (two.name_checkpoint(20, "11111111"), false),
            (two.name_checkpoint(21, "11111111"), true),
            (one.name_checkpoint(10, "11111111"), true),
            (name(10, 1), false),
            (name(11, 1), true),
            (name(10, 2), true),
            (claim(9, "a").name_checkpoint(50, "11111111"), true),
        ] {
            assert_eq!(history.is_void(&checkpoint), is_void, "{checkpoint}");
        }
        for (number, tag, last) in [
            (3, three.tag(), u64::MAX),
            (3, other.tag(), 0),
            (2, two.tag(), 20),
            (2, other.tag(), 0),
            (1, one.tag(), 10),
            (9, one.tag(), 0),
        ] {
            assert_eq!(history.last_step_of(number, Some(tag)), Some(last), "{number} {tag}");
        }
        assert_eq!(history.last_step_of(2, None), Some(20));
    }

    #[test]
    fn a_beginning_is_read_as_it_was_put_and_only_with_names_of_checkpoints() {
        let beginning = Beginning { claim: claim(3, "c"), from: vec![name(20, 2), name(10, 1)] };
        let json = serde_json::to_string(&beginning).unwrap();
        assert_eq!(serde_json::from_str::<Beginning>(&json).unwrap(), beginning);
        assert!(serde_json::from_str::<Beginning>(&json.replace("step-00000010", "../step")).is_err());
    }
}
