//! Sends updated weights from the rank that updated them to every rank, beside the next forward.

use std::collections::VecDeque;
use std::ops::Range;

use crate::collectives::{CollectivesError, Pending};

/// All-gathers of buckets of weights, in the order in which forward needs them.
#[derive(Default)]
pub struct WeightGather {
    under_way: VecDeque<(Range<usize>, Pending)>,
    failed: Option<CollectivesError>,
}

impl WeightGather {
    /// Adds the all-gather of the weights in `range` of the flat layout.
    pub fn add(&mut self, range: Range<usize>, pending: Pending) {
        self.under_way.push_back((range, pending));
    }

    /// Returns whether some weights before `end` have not been waited for.
    pub fn is_waiting_before(&self, end: usize) -> bool {
        self.under_way.front().is_some_and(|(range, _)| range.start < end)
    }

    /// Waits until all weights before `end` have arrived. Keeps an error for [`finish`](Self::finish).
    pub fn wait_until(&mut self, end: usize) {
        while self.is_waiting_before(end) {
            let Some((_, pending)) = self.under_way.pop_front() else { return };
            if self.failed.is_none() {
                self.failed = pending.wait().err();
            }
        }
    }

    /// Waits until all weights have arrived.
    pub fn finish(&mut self) -> Result<(), CollectivesError> {
        self.wait_until(usize::MAX);
        self.failed.take().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn what_comes_later_is_not_waited_for() {
        let waited = Arc::new(Mutex::new(Vec::new()));
        let mut gather = WeightGather::default();
        for start in [0, 10, 20, 30] {
            let waited = waited.clone();
            let pending = Pending::new(move || {
                waited.lock().unwrap().push(start);
                Ok(())
            });
            gather.add(start..start + 10, pending);
        }
        // A range that ends within a bucket needs the whole bucket.
        for (end, expected) in [(0, &[][..]), (10, &[0]), (11, &[0, 10]), (20, &[0, 10]), (40, &[0, 10, 20, 30])] {
            assert_eq!(gather.is_waiting_before(end), waited.lock().unwrap().len() < expected.len());
            gather.wait_until(end);
            assert_eq!(*waited.lock().unwrap(), expected, "until {end}");
        }
        gather.finish().unwrap();
    }
}
