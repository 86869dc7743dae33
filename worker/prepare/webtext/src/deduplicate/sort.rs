//! Sorts more records than fit into memory, over one or many ranks.
//!
//! A [`Sorter`] sorts as many as it may hold, and keeps them as a run. Where runs are kept is the caller's: in memory
//! ([`InMemory`]), or as objects of a store, from which each rank takes its part of the runs of all.

use std::convert::Infallible;

use crate::deduplicate::merge::Merge;

/// Where sorted runs are kept.
///
/// With several ranks, every record belongs to one rank by its first field, and equal records to one rank. All ranks call
/// [`take`](Self::take) equally often, and it returns what belongs to this rank in the runs of all ranks.
pub trait Runs<T> {
    /// Why runs cannot be kept or taken.
    type Error;
    /// A run, in order.
    type Run: Iterator<Item = Result<T, Self::Error>>;

    /// Keeps a run: at least one record, in order, each once.
    ///
    /// # Errors
    /// Returns why it cannot be kept.
    fn keep(&mut self, run: &[T]) -> Result<(), Self::Error>;

    /// Returns all runs that were kept since the last call.
    ///
    /// # Errors
    /// Returns why they cannot be taken.
    fn take(&mut self) -> Result<Vec<Self::Run>, Self::Error>;
}

/// Sorts records, in bounded memory: `records_max` of them, and one of each run while they are merged.
pub struct Sorter<T, R> {
    runs: R,
    records: Vec<T>,
    records_max: usize,
}

impl<T: Copy + Ord, R: Runs<T>> Sorter<T, R> {
    /// Makes ready to sort, with up to `records_max` records in memory, at least 1.
    pub fn new(runs: R, records_max: usize) -> Self {
        Sorter { runs, records: Vec::new(), records_max: records_max.max(1) }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Returns why a run cannot be kept.
    pub fn push(&mut self, record: T) -> Result<(), R::Error> {
        if self.records.len() >= self.records_max {
            self.records.sort_unstable();
            self.records.dedup();
            // Where many are equal, the others need no run yet.
            if self.records.len() > self.records_max / 2 {
                self.runs.keep(&self.records)?;
                self.records.clear();
            }
        }
        if self.records.len() == self.records.capacity() {
            // Never more than the most, which doubling might take.
            self.records.reserve_exact(self.records.len().clamp(16, (self.records_max - self.records.len()).max(16)));
        }
        self.records.push(record);
        Ok(())
    }

    /// Returns all records that were added since the last call, in order, each once. With several ranks, returns those that belong to
    /// this rank, of all ranks.
    ///
    /// # Errors
    /// Returns why a run cannot be kept or taken.
    pub fn sorted(&mut self) -> Result<Merge<R::Run, T>, R::Error> {
        if !self.records.is_empty() {
            self.records.sort_unstable();
            self.records.dedup();
            self.runs.keep(&self.records)?;
            self.records.clear();
        }
        Merge::new(self.runs.take()?)
    }
}

/// Runs in memory, of one rank.
#[derive(Debug)]
pub struct InMemory<T>(Vec<Vec<T>>);

impl<T> Default for InMemory<T> {
    fn default() -> Self {
        InMemory(Vec::new())
    }
}

impl<T: Copy> Runs<T> for InMemory<T> {
    type Error = Infallible;
    type Run = std::iter::Map<std::vec::IntoIter<T>, fn(T) -> Result<T, Infallible>>;

    fn keep(&mut self, run: &[T]) -> Result<(), Infallible> {
        self.0.push(run.to_vec());
        Ok(())
    }

    fn take(&mut self) -> Result<Vec<Self::Run>, Infallible> {
        let ok: fn(T) -> Result<T, Infallible> = Ok;
        Ok(std::mem::take(&mut self.0).into_iter().map(|run| run.into_iter().map(ok)).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_are_sorted_and_each_comes_once_however_few_fit_into_memory(
            records in prop::collection::vec(0..40_u8, 0..90), records_max in 0..12_usize
        ) {
            let mut sorter = Sorter::new(InMemory::default(), records_max);
            for pass in 0..2_u8 {
                for record in &records {
                    sorter.push(record ^ pass).unwrap();
                    prop_assert!(sorter.records.len() <= records_max.max(1));
                }
                let mut expected: Vec<u8> = records.iter().map(|record| record ^ pass).collect();
                expected.sort_unstable();
                expected.dedup();
                let sorted: Vec<u8> = sorter.sorted().unwrap().map(Result::unwrap).collect();
                prop_assert_eq!(sorted, expected);
            }
        }
    }
}
