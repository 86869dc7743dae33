//! Merges sorted runs into one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

/// Records of several sorted runs, in order, each once. It holds one record of every run.
pub struct Merge<I, T> {
    runs: Vec<I>,
    /// The next record of each run, and the run's place.
    heads: BinaryHeap<Reverse<(T, usize)>>,
    last: Option<T>,
}

impl<I: Iterator<Item = Result<T, E>>, T: Copy + Ord, E> Merge<I, T> {
    /// Begins to merge.
    ///
    /// # Errors
    /// Returns the error of a run's first record.
    pub fn new(mut runs: Vec<I>) -> Result<Self, E> {
        let mut heads = BinaryHeap::with_capacity(runs.len());
        for (at, run) in runs.iter_mut().enumerate() {
            if let Some(record) = run.next() {
                heads.push(Reverse((record?, at)));
            }
        }
        Ok(Merge { runs, heads, last: None })
    }
}

impl<I: Iterator<Item = Result<T, E>>, T: Copy + Ord, E> Iterator for Merge<I, T> {
    type Item = Result<T, E>;

    /// Returns the next record. After an error, there are no more.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut head = self.heads.peek_mut()?;
            let Reverse((record, at)) = *head;
            match self.runs.get_mut(at).and_then(Iterator::next) {
                Some(Ok(next)) => {
                    *head = Reverse((next, at));
                    drop(head);
                }
                None => {
                    PeekMut::pop(head);
                }
                Some(Err(error)) => {
                    drop(head);
                    self.heads.clear();
                    return Some(Err(error));
                }
            }
            if self.last != Some(record) {
                self.last = Some(record);
                return Some(Ok(record));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Run = std::vec::IntoIter<Result<u32, String>>;

    fn run(records: impl IntoIterator<Item = u32>) -> Run {
        records.into_iter().map(Ok).collect::<Vec<_>>().into_iter()
    }

    proptest! {
        #[test]
        fn merged_runs_are_all_records_sorted_and_each_once(mut runs in prop::collection::vec(prop::collection::vec(0..50_u32, 0..9), 0..6)) {
            runs.iter_mut().for_each(|run| run.sort_unstable());
            let merged: Vec<u32> = Merge::new(runs.iter().cloned().map(run).collect()).unwrap().map(Result::unwrap).collect();
            let mut expected = runs.concat();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(merged, expected);
        }
    }

    #[test]
    fn an_error_of_a_run_is_the_last_that_comes() {
        let broken = vec![Ok(2), Err("broken".to_owned()), Ok(4)].into_iter();
        let mut merge = Merge::new(vec![run([1, 3, 5]), broken]).unwrap();
        assert_eq!(merge.next(), Some(Ok(1)));
        assert_eq!(merge.next(), Some(Err("broken".to_owned())));
        assert_eq!(merge.next(), None);
        let broken = vec![Err("at once".to_owned())].into_iter();
        assert_eq!(Merge::new(vec![run([1]), broken]).err(), Some("at once".to_owned()));
    }
}
