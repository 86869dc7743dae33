//! What is compared: units of earlier deduplications, and behind them the units of this stage.
//!
//! A document has the number `SOURCE << 32 | ROW`, so earlier documents have smaller numbers, and those of a corpus that was there
//! before have the smallest.

use std::collections::HashMap;
use std::ops::Range;

use common::config::StorageConfig;
use common::sha256::Sha256Sum;
use common::storage::{Folder, StorageError};
use serde::{Deserialize, Serialize};
use webtext::deduplicate::DeduplicateOptions;

use super::names::{SIGNATURES_END, keys_name, signatures_name};
use crate::PrepareError;
use crate::stages::names::{HASH_DIGITS, STAGE_NAME};
use crate::stages::pages::divide;
use crate::stages::record::StageRecord;

/// Bits of a number that are the row.
const ROW_BITS: u32 = 32;
/// Largest number of a row.
pub const ROW_MAX: u64 = u32::MAX as u64;
/// Smallest and largest size of a group of units, in bytes of documents as they are stored; approximate. For each group, some objects
/// are written.
const GROUP_BYTES: [u64; 2] = [64 << 10, 64 << 20];

/// A unit of an earlier deduplication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldUnit {
    /// Number of its folder in `webtext.deduplicate.against`.
    pub folder: u32,
    /// Number of the unit.
    pub unit: u32,
    /// Bytes to read.
    pub bytes: u64,
}

/// Finds the units of the earlier deduplications that the `options` name, in order.
pub fn old_units(options: &DeduplicateOptions, storage: &StorageConfig) -> Result<Vec<OldUnit>, PrepareError> {
    let mut all = Vec::new();
    for (number, url) in (0..).zip(&options.against) {
        let folder = Folder::open(url, storage)?;
        let units = count_of_units(&folder)?;
        let objects = folder.list()?.into_iter().map(|object| (object.name, object.bytes));
        let objects: HashMap<String, u64> = objects.filter(|(name, _)| !name.contains('/')).collect();
        // A list may be behind.
        let bytes = |name: String| match objects.get(&name) {
            Some(bytes) => Ok(*bytes),
            None => match folder.size(&name) {
                Err(StorageError::NotFound { .. }) => Err(missing(&folder, &name)),
                bytes => Ok(bytes?),
            },
        };
        for unit in 0..units {
            let signatures = if options.near { bytes(signatures_name(unit))? } else { 0 };
            all.push(OldUnit { folder: number, unit, bytes: bytes(keys_name(unit))? + signatures });
        }
    }
    Ok(all)
}

/// Returns the number of units of an earlier deduplication, which is done.
fn count_of_units(folder: &Folder) -> Result<u32, PrepareError> {
    let refused = |reason: String| PrepareError::Against { url: folder.url().to_owned(), reason };
    let Some(content) = folder.get_if_exists(STAGE_NAME)? else {
        return Err(refused(
            "it has no deduplication that is done; run its job to the end, or leave it out".to_owned(),
        ));
    };
    let record: StageRecord = serde_json::from_slice(&content)
        .map_err(|error| refused(format!("{STAGE_NAME}: {error}; copy the whole folder, or make it anew")))?;
    let (sha256, digits) = (record.sha256.to_string(), folder.url().rsplit_once('-').map_or("", |(_, digits)| digits));
    if digits.is_empty() || !sha256.starts_with(digits) {
        let reason = format!("{STAGE_NAME} there is of another folder, whose name ends in {}", &sha256[..HASH_DIGITS]);
        return Err(refused(format!("{reason}; name that one, or give this one its name back")));
    }
    u32::try_from(record.units.len()).map_err(|_| refused("it has too many units".to_owned()))
}

fn missing(folder: &Folder, name: &str) -> PrepareError {
    let hint = match name.ends_with(SIGNATURES_END) {
        true => "copy the whole folder, make it anew with near = true, or write webtext.deduplicate.near = false",
        false => "copy the whole folder, or make it anew",
    };
    PrepareError::Against { url: folder.url().to_owned(), reason: format!("it lacks {name}; {hint}") }
}

/// All units that are compared.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Units of earlier deduplications, with their folders.
    old: Vec<(Folder, OldUnit)>,
    /// Bytes of each unit of this stage.
    new: Vec<u64>,
    /// Folder of this stage.
    folder: Folder,
}

/// A unit that is compared.
#[derive(Debug, Clone, Copy)]
pub struct SourceUnit<'s> {
    /// Folder of its keys and signatures.
    pub folder: &'s Folder,
    /// Number of the unit in that folder.
    pub unit: u32,
    /// Whether it is of this stage.
    pub is_new: bool,
}

impl Sources {
    /// Puts `old` units before the units of this stage, whose sizes are `bytes`.
    pub fn new(
        (old, options): (&[OldUnit], &DeduplicateOptions),
        storage: &StorageConfig,
        (folder, bytes): (&Folder, Vec<u64>),
    ) -> Result<Self, PrepareError> {
        let folders = options.against.iter().map(|url| Folder::open(url, storage)).collect::<Result<Vec<_>, _>>()?;
        let old = old.iter().map(|unit| (folders[unit.folder as usize].clone(), unit.clone())).collect();
        Ok(Sources { old, new: bytes, folder: folder.clone() })
    }

    /// Returns the folder of this stage.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Returns the number of units.
    pub fn count(&self) -> u32 {
        (self.old.len() + self.new.len()) as u32
    }

    /// Returns the unit at `source`.
    pub fn unit(&self, source: u32) -> SourceUnit<'_> {
        match self.old.get(source as usize) {
            Some((folder, old)) => SourceUnit { folder, unit: old.unit, is_new: false },
            None => SourceUnit { folder: &self.folder, unit: source - self.old.len() as u32, is_new: true },
        }
    }

    /// Returns the smallest number of a document of this stage.
    pub fn first_new(&self) -> u64 {
        first_of(self.old.len() as u32)
    }

    /// Divides all units into groups of neighbours, each of old units or of new ones. The division follows from their sizes.
    pub fn groups(&self) -> Vec<Range<u32>> {
        let old: Vec<u64> = self.old.iter().map(|(_, unit)| unit.bytes).collect();
        let groups = |bytes: &[u64], first: u32| -> Vec<Range<u32>> {
            let groups = divide(bytes, GROUP_BYTES).into_iter();
            groups.map(|group| first + group.start as u32..first + group.end as u32).collect()
        };
        [groups(&old, 0), groups(&self.new, old.len() as u32)].concat()
    }

    /// Returns what says that work was done with these units: a hash of their sizes.
    pub fn hash(&self) -> Sha256Sum {
        let old: Vec<&OldUnit> = self.old.iter().map(|(_, unit)| unit).collect();
        let units = serde_json::to_vec(&(old, &self.new)).unwrap_or_else(|e| unreachable!("units are JSON: {e}"));
        Sha256Sum::of(&units)
    }

    /// Returns the bytes of a group of units.
    pub fn bytes_of(&self, group: &Range<u32>) -> u64 {
        let bytes = |source: u32| match self.old.get(source as usize) {
            Some((_, old)) => old.bytes,
            None => self.new[source as usize - self.old.len()],
        };
        group.clone().map(bytes).sum()
    }
}

/// Returns the number of the document in this row of a unit.
pub fn number(source: u32, row: u64) -> u64 {
    first_of(source) | row
}

/// Returns the number of the first document of a unit.
pub fn first_of(source: u32) -> u64 {
    u64::from(source) << ROW_BITS
}

/// Returns the unit of a document.
pub fn source_of(number: u64) -> u32 {
    (number >> ROW_BITS) as u32
}

/// Returns the row of a document in its unit.
pub fn row_of(number: u64) -> u64 {
    number & ROW_MAX
}
