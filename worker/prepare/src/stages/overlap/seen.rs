//! What the documents of a unit have shown of the evaluation sets, as an object: a line with the SHA-256 of the rest, and the rest as
//! JSON. It is put before the object that makes the unit count.

use bytes::Bytes;
use common::sha256::Sha256Sum;
use common::storage::{Folder, StorageError};
use serde::{Deserialize, Serialize};

use super::longest::LongOverlap;
use crate::PrepareError;
use crate::stages::damaged;
use crate::stages::lineage::units::UNIT_START;

/// What a unit has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenRecord {
    /// Number of documents that overlap.
    pub documents: u64,
    /// Number of windows that were removed.
    pub windows: u64,
    /// Number of characters that were removed with them.
    pub characters: u64,
    /// Numbers of the grams of evaluation sets that are in documents, ascending and each once.
    pub seen: Vec<u32>,
    /// Longest overlaps, the longest first.
    pub longest: Vec<LongOverlap>,
}

/// Returns the name of the object of unit `number`.
pub fn seen_name(number: u32) -> String {
    format!("{UNIT_START}{number:06}.seen")
}

impl SeenRecord {
    /// Puts the object of unit `number` into a stage's folder.
    pub fn put(&self, folder: &Folder, number: u32) -> Result<(), PrepareError> {
        let json = serde_json::to_string(self).unwrap_or_else(|e| unreachable!("it is JSON: {e}")) + "\n";
        let content = format!("{}\n{json}", Sha256Sum::of(json.as_bytes()));
        Ok(folder.put(&seen_name(number), Bytes::from(content))?)
    }

    /// Reads the object of unit `number`, where evaluation sets have `grams` different grams.
    pub fn get(folder: &Folder, number: u32, grams: usize) -> Result<Self, PrepareError> {
        let name = seen_name(number);
        let content = match folder.get(&name) {
            Err(StorageError::NotFound { .. }) => {
                return Err(damaged(folder, &name, "gone since it was written".to_owned()));
            }
            content => content?,
        };
        SeenRecord::parse(&content, grams).map_err(|reason| damaged(folder, &name, reason))
    }

    /// Returns what is wrong with the object of unit `number`; `None` where it is as it was written.
    pub fn damage(folder: &Folder, number: u32, grams: usize) -> Result<Option<String>, PrepareError> {
        match SeenRecord::get(folder, number, grams) {
            Ok(_) => Ok(None),
            Err(PrepareError::Work { url, reason, .. }) => Ok(Some(format!("{url}: {reason}"))),
            Err(error) => Err(error),
        }
    }

    fn parse(content: &[u8], grams: usize) -> Result<Self, String> {
        let other = || "its contents do not have the SHA-256 in its first line".to_owned();
        let end = content.iter().position(|byte| *byte == b'\n').ok_or_else(other)?;
        let (hash, rest) = (&content[..end], &content[end + 1..]);
        if hash != Sha256Sum::of(rest).to_string().as_bytes() {
            return Err(other());
        }
        let record: SeenRecord = serde_json::from_slice(rest).map_err(|error| error.to_string())?;
        match record.seen.is_sorted_by(|one, next| one < next)
            && record.seen.last().is_none_or(|last| (*last as usize) < grams)
        {
            true => Ok(record),
            false => Err(format!("its numbers of grams do not ascend below {grams}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::lineage::tests::folder;

    fn record(seen: &[u32]) -> SeenRecord {
        SeenRecord { documents: 3, seen: seen.to_vec(), ..SeenRecord::default() }
    }

    #[test]
    fn a_record_comes_back_and_a_flipped_bit_anywhere_is_damage() {
        let folder = folder("overlap-seen");
        let whole = record(&[0, 4, 9]);
        whole.put(&folder, 2).unwrap();
        assert_eq!(SeenRecord::get(&folder, 2, 10).unwrap(), whole);
        assert_eq!(SeenRecord::damage(&folder, 2, 10).unwrap(), None);
        let content = folder.get("unit-000002.seen").unwrap();
        for at in 0..content.len() {
            let mut flipped = content.to_vec();
            flipped[at] ^= 1;
            assert!(SeenRecord::parse(&flipped, 10).is_err(), "byte {at}");
            assert!(SeenRecord::parse(&content[..at], 10).is_err(), "cut at {at}");
        }
        let gone = SeenRecord::damage(&folder, 3, 10).unwrap().unwrap();
        assert!(gone.ends_with("unit-000003.seen: gone since it was written"), "{gone}");
    }

    #[test]
    fn numbers_that_no_gram_has_and_those_out_of_order_are_refused() {
        let folder = folder("overlap-seen-numbers");
        for (seen, grams) in [(&[0, 4, 9][..], 9), (&[4, 4], 10), (&[5, 4], 10), (&[0], 0)] {
            record(seen).put(&folder, 0).unwrap();
            let error = SeenRecord::get(&folder, 0, grams).unwrap_err().to_string();
            assert!(error.contains(&format!("do not ascend below {grams}; remove memory:")), "{error}");
        }
    }
}
