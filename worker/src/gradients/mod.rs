//! Flat gradients: exchanged in buckets while backward goes on, then judged.
//!
//! - [`buckets`]: the division of the flat layout.
//! - [`order`]: when each bucket's exchange begins.
//! - [`verdict`]: clipping, and whether a step's update is made at all.

pub mod buckets;
pub mod order;
pub mod verdict;

use std::ops::Range;
use std::sync::Arc;

use tch::Tensor;

use crate::collectives::{Collectives, CollectivesError, Label, Pending, ReduceOp};
pub use buckets::Buckets;
pub use order::ExchangeOrder;
pub use verdict::Verdict;

/// Part of the gradients' sum that a rank has after the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// The whole sum.
    Whole,
    /// The rank's own part of each bucket; the rest of the gradients is of no use.
    Parts,
}

/// An exchange that sums all ranks' gradients, bucket by bucket.
///
/// A bucket's exchange starts as soon as backward reports the bucket complete, and runs beside the rest of backward.
pub struct Exchange<'a> {
    collectives: &'a dyn Collectives,
    gradients: Tensor,
    order: Arc<ExchangeOrder>,
    reduction: Reduction,
    /// Number of stages that are complete.
    stages_complete: usize,
    /// Operations of the buckets that have been started, in order.
    started: Vec<Pending>,
}

impl<'a> Exchange<'a> {
    /// Begins the exchange of `gradients`, flat `[P]`, in place.
    pub fn begin(
        collectives: &'a dyn Collectives,
        gradients: &Tensor,
        order: &Arc<ExchangeOrder>,
        reduction: Reduction,
    ) -> Self {
        let gradients = gradients.shallow_clone();
        Exchange { collectives, gradients, order: order.clone(), reduction, stages_complete: 0, started: Vec::new() }
    }

    /// Records that the elements in `range`, the next part in the order, are complete. Exchanges every bucket that
    /// now is complete.
    pub fn complete(&mut self, range: &Range<usize>) {
        assert_eq!(*range, self.order.stages()[self.stages_complete].part, "backward goes by another order");
        self.begin_next();
    }

    /// Records that all other parts are complete: a rank that has computed nothing still takes part in every
    /// exchange, in the order of the other ranks.
    pub fn complete_rest(&mut self) {
        while self.stages_complete < self.order.stages().len() {
            self.begin_next();
        }
    }

    fn begin_next(&mut self) {
        let order = self.order.clone();
        for bucket in &order.stages()[self.stages_complete].buckets {
            self.started.push(self.begin_bucket(*bucket, order.buckets()));
        }
        self.stages_complete += 1;
    }

    fn begin_bucket(&self, number: usize, buckets: &Buckets) -> Pending {
        let view = |range: &Range<usize>| self.gradients.narrow(0, range.start as i64, range.len() as i64);
        let (range, label) = (&buckets.ranges()[number], Label::bucket("gradients", number));
        match self.reduction {
            Reduction::Whole => self.collectives.all_reduce(&view(range), ReduceOp::Sum, label),
            Reduction::Parts => {
                let mine = buckets.part(range, self.collectives.rank());
                self.collectives.reduce_scatter(&view(range), &view(&mine), label)
            }
        }
    }

    /// Waits for all buckets. All must have been started: starting them here would differ from the order of other
    /// ranks.
    pub fn finish(self) -> Result<(), CollectivesError> {
        assert_eq!(self.stages_complete, self.order.stages().len(), "backward has left something out");
        self.started.into_iter().try_for_each(Pending::wait)
    }
}
