//! What is done: a unit by its JSON object, a stage by `stage.json`.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;
use common::sha256::Sha256Sum;
use common::storage::{Folder, ObjectInfo, StorageError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::damaged;
use super::deduplicate::sums::ClusterSums;
use super::names::{STAGE_NAME, documents_name, lineage_name, unit_name};
use super::object::{Stored, verify};
use super::overlap::sums::OverlapSums;
use super::tally::Tally;
use crate::PrepareError;

/// Bound on counts of bytes and documents: more than inputs have, and few enough that sums stay within 64 bits.
const COUNT_MAX: u64 = 1 << 48;

/// A unit that is done, as its JSON object says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitRecord {
    /// Documents of the unit.
    pub documents: Stored,
    /// Lineage of the unit.
    pub lineage: Stored,
    /// Sums of its decisions.
    #[serde(flatten)]
    pub tally: Tally,
}

/// A stage that is done, as `stage.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Name of the stage.
    pub stage: String,
    /// Hash of all that decided what the stage has made.
    pub sha256: Sha256Sum,
    /// Options of the stage.
    pub options: Value,
    /// Documents of each unit, in order.
    pub units: Vec<Stored>,
    /// Sums over all units.
    pub tally: Tally,
    /// Sums over clusters, of the stage `deduplicate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<ClusterSums>,
    /// Overlap with evaluation sets, of the stage `overlap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlaps: Option<OverlapSums>,
}

/// Returns which of `count` units count, by the list of the `objects` in their folder.
pub fn units_done(objects: &[ObjectInfo], count: u32) -> BTreeSet<u32> {
    let names: HashSet<&str> = objects.iter().map(|object| object.name.as_str()).collect();
    (0..count).filter(|number| names.contains(unit_name(*number).as_str())).collect()
}

impl UnitRecord {
    /// Puts the record into its folder, which makes unit `number` count.
    pub fn put(&self, folder: &Folder, number: u32) -> Result<(), PrepareError> {
        Ok(folder.put(&unit_name(number), json(self))?)
    }

    /// Reads the record of unit `number`.
    pub fn get(folder: &Folder, number: u32) -> Result<Self, PrepareError> {
        let name = unit_name(number);
        let record = |content: &[u8]| -> Result<Self, String> {
            let record: UnitRecord = serde_json::from_slice(content).map_err(|error| error.to_string())?;
            record.check().map(|()| record)
        };
        record(&folder.get(&name)?).map_err(|reason| damaged(folder, &name, reason))
    }

    /// Returns what is wrong with the objects of unit `number`, which counts; `None` where all are as they were written.
    pub fn damage(folder: &Folder, number: u32) -> Result<Option<String>, PrepareError> {
        let read = || {
            let record = UnitRecord::get(folder, number)?;
            verify(folder, &documents_name(number), &record.documents)?;
            verify(folder, &lineage_name(number), &record.lineage)
        };
        match read() {
            Ok(()) => Ok(None),
            Err(PrepareError::Work { url, reason, .. }) => Ok(Some(format!("{url}: {reason}"))),
            Err(PrepareError::Storage(StorageError::NotFound { url })) => Ok(Some(format!("{url} does not exist"))),
            Err(error) => Err(error),
        }
    }

    fn check(&self) -> Result<(), String> {
        check_counts(&self.tally, [&self.documents, &self.lineage])
    }
}

impl StageRecord {
    /// Puts the record into its folder, which makes the stage done.
    pub fn put(&self, folder: &Folder) -> Result<(), PrepareError> {
        Ok(folder.put(STAGE_NAME, json(self))?)
    }

    /// Reads the record of a stage of this hash; `None` where the stage is not done.
    pub fn get(folder: &Folder, sha256: &Sha256Sum) -> Result<Option<Self>, PrepareError> {
        let Some(content) = folder.get_if_exists(STAGE_NAME)? else { return Ok(None) };
        let refused = |reason: String| damaged(folder, STAGE_NAME, reason);
        let record: StageRecord = serde_json::from_slice(&content).map_err(|error| refused(error.to_string()))?;
        if record.sha256 != *sha256 {
            return Err(refused(format!("it is of the hash {}, expected {sha256}", record.sha256)));
        }
        check_counts(&record.tally, &record.units).map_err(refused)?;
        Ok(Some(record))
    }
}

/// Checks the numbers that size memory, and those that are added up.
fn check_counts<'s>(tally: &Tally, stored: impl IntoIterator<Item = &'s Stored>) -> Result<(), String> {
    let Tally { seen, kept, bytes_in, bytes_out, ref dropped, ref domains, cpu_seconds } = *tally;
    let dropped = dropped.values().flat_map(|dropped| [dropped.count, dropped.bytes]);
    let counts = [seen, kept, bytes_in, bytes_out].into_iter().chain(dropped).chain(domains.numbers());
    if let Some(count) = counts.chain(stored.into_iter().map(|stored| stored.bytes)).find(|count| *count > COUNT_MAX) {
        return Err(format!("it counts {count}, expected at most {COUNT_MAX}"));
    }
    match cpu_seconds.is_finite() && cpu_seconds >= 0.0 {
        true => Ok(()),
        false => Err(format!("it has {cpu_seconds} seconds of processor time")),
    }
}

fn json(value: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec_pretty(value).unwrap_or_else(|e| unreachable!("a record is JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_counts_by_the_whole_name_of_its_object() {
        let object = |name: &str| ObjectInfo { name: name.into(), bytes: 1, version: "1".into(), changed_unix_s: 1 };
        let names =
            ["unit-000001.json", "unit-000002.lineage.parquet", "unit-3.json", "unit-000004.json", "stage.json"];
        assert_eq!(units_done(&names.map(object), 4), BTreeSet::from([1]));
    }
}
