//! The order of the exchange: each bucket's exchange begins with the part of the layout that completes it. All ranks
//! follow this order, including those that have nothing to compute.

use std::ops::Range;

use super::buckets::Buckets;

/// Order in which buckets are exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeOrder {
    buckets: Buckets,
    stages: Vec<Stage>,
}

/// A part of the flat layout, and the buckets that it completes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Range of the flat layout.
    pub part: Range<usize>,
    /// Numbers of the buckets.
    pub buckets: Vec<usize>,
}

impl ExchangeOrder {
    /// Makes the order for `buckets`, whose elements are complete part by part, in the order of `completion`.
    /// Elements in no part are padding.
    pub fn new(buckets: Buckets, completion: Vec<Range<usize>>) -> Self {
        let mut stages: Vec<Stage> = completion.into_iter().map(|part| Stage { part, buckets: Vec::new() }).collect();
        for (number, bucket) in buckets.ranges().iter().enumerate() {
            let touches = |stage: &Stage| stage.part.start < bucket.end && bucket.start < stage.part.end;
            // A bucket of nothing but padding, if there were one, could begin at once.
            let last = stages.iter().rposition(touches).unwrap_or(0);
            stages[last].buckets.push(number);
        }
        ExchangeOrder { buckets, stages }
    }

    /// Returns the buckets that are exchanged.
    pub fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    /// Returns the parts of the layout, in the order in which they become complete.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::topology::WorldSize;

    #[test]
    fn a_bucket_begins_with_the_last_of_the_parts_that_it_touches() {
        // Buckets 0 to 3: 384..512, 256..384, 128..256, 0..128.
        let buckets = Buckets::new(512, 128, WorldSize::ONE);
        let order = ExchangeOrder::new(buckets, vec![300..500, 0..100, 200..300, 100..200]);
        let begun: Vec<_> = order.stages().iter().map(|stage| stage.buckets.clone()).collect();
        assert_eq!(begun, [vec![0], vec![], vec![1], vec![2, 3]]);
    }
}
