//! Between the third step and the last: paragraphs that an earlier document has, of documents that stay.
//!
//! Occurrences of paragraphs are sorted by key in parts, by the highest bits of the key, which ranks and their threads divide. Those of
//! documents that are dropped do not count, so the first occurrence of a paragraph always stays. A part counts when its JSON object is
//! there.

use std::ops::Range;

use bytes::Bytes;
use common::storage::Folder;
use serde::{Deserialize, Serialize};
use webtext::deduplicate::exact::paragraphs;
use webtext::deduplicate::record::{Occurrence, Repeat, Verdict};
use webtext::deduplicate::{Content, Normaliser, Repeats};

use super::names::verdicts_name;
use super::objects::{Run, Spill, merged, run_name};
use super::sources::{Sources, row_of, source_of};
use crate::PrepareError;
use crate::progress::Progress;

/// Number of parts of the keys: as many as their four highest bits tell apart.
pub const PARTS: usize = 16;

/// Returns the part of a key.
pub fn part_of(key: u128) -> usize {
    (key >> 124) as usize
}

/// Returns what names the occurrences in this part of the keys, of a group of units or of all.
pub fn part_name(part: usize) -> String {
    format!("paragraphs-{part:02}")
}

/// A part whose repeats are there.
#[derive(Debug, Serialize, Deserialize)]
pub struct PartRecord {
    /// Number of objects with repeats.
    runs: u32,
}

impl PartRecord {
    /// Returns the name of the object that makes `part` count.
    pub fn name(part: usize) -> String {
        format!("{}.json", repeats_of(part))
    }

    /// Returns the names of the objects with repeats of `part`.
    pub fn names(work: &Folder, part: usize) -> Result<Vec<String>, PrepareError> {
        let name = PartRecord::name(part);
        let record: PartRecord = serde_json::from_slice(&work.get(&name)?)
            .map_err(|error| crate::stages::damaged(work, &name, error.to_string()))?;
        Ok((0..record.runs).map(|run| run_name(&repeats_of(part), run)).collect())
    }
}

fn repeats_of(part: usize) -> String {
    format!("repeats-{part:02}")
}

/// Documents of this stage that are dropped: a bit for each.
pub struct Dropped(Vec<Vec<u64>>);

impl Dropped {
    /// Reads the verdicts on all units of this stage.
    pub fn read(work: &Folder, sources: &Sources, progress: &Progress) -> Result<Self, PrepareError> {
        let unit = |source: u32| {
            let (unit, mut bits) = (sources.unit(source), Vec::new());
            if unit.is_new {
                for verdict in Run::<Verdict>::open(work, &verdicts_name(unit.unit), Content::Verdicts, progress)? {
                    let Verdict { id, kept, .. } = verdict?;
                    if id != kept {
                        set(&mut bits, row_of(id));
                    }
                }
            }
            Ok(bits)
        };
        (0..sources.count()).map(unit).collect::<Result<_, _>>().map(Dropped)
    }

    fn has(&self, number: u64) -> bool {
        let (bits, row) = (self.0.get(source_of(number) as usize), row_of(number));
        let word = bits.and_then(|bits| bits.get((row / 64) as usize));
        word.is_some_and(|word| word >> (row % 64) & 1 == 1)
    }
}

fn set(bits: &mut Vec<u64>, row: u64) {
    let at = (row / 64) as usize;
    if bits.len() <= at {
        bits.resize(at + 1, 0);
    }
    bits[at] |= 1 << (row % 64);
}

/// Finds the repeats of a part of the keys, of which the objects `names` have the occurrences, in `memory_bytes`.
pub fn make(
    work: &Folder,
    (part, names): (usize, Vec<String>),
    dropped: &Dropped,
    (memory_bytes, progress): (u64, &Progress),
) -> Result<(), PrepareError> {
    let half = memory_bytes / 2;
    let occurrences = merged::<Occurrence>(work, names, Content::Paragraphs, (half, progress))?;
    let stays = |occurrence: &Result<Occurrence, _>| occurrence.as_ref().map_or(true, |found| !dropped.has(found.id));
    let repeats_max = half as usize / size_of::<Repeat>();
    let mut repeats = Spill::new(work, repeats_of(part), Content::Repeats, repeats_max);
    for repeat in Repeats::new(occurrences.filter(stays)) {
        repeats.push(repeat?)?;
    }
    let record = PartRecord { runs: repeats.finish()? };
    let record = serde_json::to_vec(&record).unwrap_or_else(|e| unreachable!("it is JSON: {e}"));
    Ok(work.put(&PartRecord::name(part), Bytes::from(record))?)
}

/// Returns `text` without the paragraphs of these numbers, which ascend, each with its line feed.
pub fn without(text: &str, numbers: &[u32], normaliser: &mut Normaliser) -> String {
    let mut left = String::with_capacity(text.len());
    let (mut at, mut numbers) = (0, numbers.iter().peekable());
    for paragraph in paragraphs(text, normaliser) {
        if numbers.next_if(|number| **number == paragraph.number).is_some() {
            let Range { start, end } = paragraph.bytes;
            left.push_str(&text[at..start]);
            at = (end + 1).min(text.len());
        }
    }
    left.push_str(&text[at..]);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_go_with_their_line_feeds_and_the_rest_stays() {
        let text = "One\n\nTwo\n!!\nThree";
        let mut normaliser = Normaliser::default();
        let mut check = |numbers: &[u32], expected: &str| {
            assert_eq!(without(text, numbers, &mut normaliser), expected, "{numbers:?}");
        };
        check(&[], text);
        check(&[0], "\nTwo\n!!\nThree");
        check(&[1], "One\n\n!!\nThree");
        check(&[2], "One\n\nTwo\n!!\n");
        check(&[0, 1, 2], "\n!!\n");
    }

    #[test]
    fn a_bit_is_set_for_each_document_that_is_dropped() {
        let mut bits = Vec::new();
        [0, 63, 64, 1000].into_iter().for_each(|row| set(&mut bits, row));
        let dropped = Dropped(vec![Vec::new(), bits]);
        let number = |row: u64| super::super::sources::number(1, row);
        assert!([0, 63, 64, 1000].into_iter().all(|row| dropped.has(number(row))));
        assert!([1, 62, 65, 999, 1001, 1 << 30].into_iter().all(|row| !dropped.has(number(row))));
        assert!(!dropped.has(0) && !dropped.has(super::super::sources::number(2, 0)));
    }
}
