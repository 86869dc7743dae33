//! Records which batches of a unit of inputs have been encoded, as ranges of their numbers.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Bound on the number of batches of a unit, each about a mebibyte; real units have fewer.
const UNIT_BATCHES_MAX: u32 = 1 << 24;

/// Consecutive batches of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covered {
    /// Number of the first batch.
    pub first: u32,
    /// Number of batches.
    pub count: u32,
    /// Whether the unit's last batch is among them.
    pub ends: bool,
}

impl Covered {
    /// Returns the numbers of the batches.
    pub fn range(self) -> Range<u32> {
        self.first..self.first + self.count
    }
}

/// Checks `ranges` of `unit` that were read from a store: they must be in order, without overlaps, and of possible numbers.
pub fn check_ranges(unit: u32, ranges: &[Covered]) -> Result<(), String> {
    let is_possible = |range: &Covered| range.first.checked_add(range.count).is_some_and(|end| end <= UNIT_BATCHES_MAX);
    if let Some(Covered { first, count, .. }) = ranges.iter().find(|range| !is_possible(range)) {
        return Err(format!("{count} batches from batch {first} on, expected at most {UNIT_BATCHES_MAX} of a unit"));
    }
    match ranges.windows(2).any(|pair| pair[0].range().end > pair[1].first) {
        true => Err(format!("its batches of unit {unit} are not in order, or twice")),
        false => Ok(()),
    }
}

/// Joins batches into ranges by unit. Each batch is a unit, a number, and whether it is the unit's last.
pub fn covered(batches: &mut [(u32, u32, bool)]) -> BTreeMap<u32, Vec<Covered>> {
    batches.sort_unstable();
    let mut covered: BTreeMap<u32, Vec<Covered>> = BTreeMap::new();
    for (unit, number, ends) in batches.iter().copied() {
        let ranges = covered.entry(unit).or_default();
        match ranges.last_mut() {
            Some(range) if range.first + range.count == number => {
                range.count += 1;
                range.ends = ends;
            }
            _ => ranges.push(Covered { first: number, count: 1, ends }),
        }
    }
    covered
}

/// Batches of a unit that have been done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Ends of disjoint ranges of done batches, by their first batch.
    ranges: BTreeMap<u32, u32>,
    /// Number of batches in the unit, once it is known.
    count: Option<u32>,
}

impl Coverage {
    /// Returns whether batch `number` has been done.
    pub fn has(&self, number: u32) -> bool {
        self.ranges.range(..=number).next_back().is_some_and(|(_, end)| number < *end)
    }

    /// Returns whether any batch of `range` has been done.
    pub fn has_any(&self, range: &Range<u32>) -> bool {
        self.ranges.range(..range.end).next_back().is_some_and(|(_, end)| range.start < *end)
    }

    /// Returns the number of batches that have been done.
    pub fn batches(&self) -> usize {
        self.ranges.iter().map(|(first, end)| (end - first) as usize).sum()
    }

    /// Returns whether all batches have been done.
    pub fn is_complete(&self) -> bool {
        let mut next = Some(0);
        for (first, end) in &self.ranges {
            next = next.filter(|next| next == first).map(|_| *end);
        }
        self.count.is_some() && self.count == next
    }

    /// Adds batches, none of which has been done before.
    pub fn add(&mut self, covered: Covered) {
        let range = covered.range();
        self.ranges.insert(range.start, range.end);
        if covered.ends {
            self.count = Some(range.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_is_complete_when_every_batch_up_to_the_last_is_there() {
        let mut coverage = Coverage::default();
        assert!(!coverage.is_complete());
        coverage.add(Covered { first: 2, count: 1, ends: true });
        coverage.add(Covered { first: 0, count: 1, ends: false });
        assert!(!coverage.is_complete() && coverage.has(2) && !coverage.has(1) && !coverage.has(9));
        coverage.add(Covered { first: 1, count: 1, ends: false });
        assert!(coverage.is_complete());
    }
}
