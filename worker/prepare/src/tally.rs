//! Counts what became of documents.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::inputs::{BadDocument, Fault};

/// Number of bad documents that are named, the first ones; all are counted.
pub const NAMED_MAX: usize = 1000;

/// Counts of some documents. The sum of tallies does not depend on their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Number of documents that are kept.
    pub documents: u64,
    /// Bytes of their text in UTF-8.
    pub text_bytes: u64,
    /// Number of their tokens, with the end-of-text before each document.
    pub tokens: u64,
    /// Number of documents without text, which are left out.
    pub empty: u64,
    /// Number of documents that overlap with `prepare.overlap_filter`, which are left out. Absent where there are none, as in
    /// jobs without a filter.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub overlapping: u64,
    /// Number of documents that could not be read, which are left out, by fault.
    pub bad: BTreeMap<Fault, u64>,
    /// First bad documents, by source and position.
    pub named: Vec<BadDocument>,
    /// Lowest and highest text hash of the documents that are kept.
    pub hashes: Option<(u64, u64)>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Tally {
    /// Counts a document that is kept.
    pub fn keep(&mut self, text_bytes: u64, tokens: u64, hash: u64) {
        self.documents += 1;
        self.text_bytes += text_bytes;
        self.tokens += tokens;
        self.widen((hash, hash));
    }

    /// Counts a document that cannot be read.
    pub fn refuse(&mut self, bad: BadDocument) {
        *self.bad.entry(bad.fault).or_default() += 1;
        self.named.push(bad);
        if self.named.len() >= 2 * NAMED_MAX {
            self.forget_the_last();
        }
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: Tally) {
        self.documents += other.documents;
        self.text_bytes += other.text_bytes;
        self.tokens += other.tokens;
        self.empty += other.empty;
        self.overlapping += other.overlapping;
        for (fault, count) in other.bad {
            *self.bad.entry(fault).or_default() += count;
        }
        self.named.extend(other.named);
        self.forget_the_last();
        if let Some(hashes) = other.hashes {
            self.widen(hashes);
        }
    }

    /// Returns the number of documents that could not be read.
    pub fn bad_documents(&self) -> u64 {
        self.bad.values().sum()
    }

    fn forget_the_last(&mut self) {
        self.named.sort_by_key(|bad| (bad.source, bad.position));
        self.named.truncate(NAMED_MAX);
    }

    fn widen(&mut self, (low, high): (u64, u64)) {
        let (lowest, highest) = self.hashes.unwrap_or((low, high));
        self.hashes = Some((lowest.min(low), highest.max(high)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Place;

    fn bad(position: u64) -> BadDocument {
        let (source, url, place) = (0, "x".into(), Place::Line(position + 1));
        BadDocument { source, position, url, place, fault: Fault::NotJson, reason: String::new() }
    }

    #[test]
    fn the_first_bad_documents_are_named_in_whatever_order_they_come() {
        let mut forwards = Tally::default();
        let mut parts: Vec<Tally> = Vec::new();
        for position in 0..5000 {
            forwards.refuse(bad(position));
            if position % 1300 == 0 {
                parts.push(Tally::default());
            }
            parts.last_mut().unwrap().refuse(bad(position));
        }
        let mut backwards = Tally::default();
        parts.into_iter().rev().for_each(|part| backwards.add(part));
        forwards.add(Tally::default());
        assert_eq!(forwards, backwards);
        assert_eq!((backwards.bad_documents(), backwards.named.len()), (5000, NAMED_MAX));
        assert_eq!(backwards.named[NAMED_MAX - 1].position, NAMED_MAX as u64 - 1);
    }

    #[test]
    fn the_range_of_hashes_covers_all() {
        let (mut one, mut two) = (Tally::default(), Tally::default());
        one.keep(1, 1, 7);
        two.keep(1, 1, 3);
        two.keep(1, 1, 5);
        one.add(two);
        one.add(Tally::default());
        assert_eq!((one.documents, one.hashes), (3, Some((3, 7))));
    }
}
