//! Flat gradients: exchanged in buckets while backward goes on, then judged.
//!
//! - [`buckets`]: where the flat layout is cut. [`order`]: when each bucket's exchange begins.
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

/// What a rank has of the gradients' sum once they have been exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// All of it.
    Whole,
    /// Its own part of each bucket; the rest of the gradients is of no use.
    Parts,
}

/// The sum of all ranks' gradients, bucket by bucket.
///
/// A bucket's exchange starts as soon as backward says that it is complete, and runs beside the rest of backward.
pub struct Exchange<'a> {
    collectives: &'a dyn Collectives,
    gradients: Tensor,
    order: Arc<ExchangeOrder>,
    reduction: Reduction,
    /// How many parts of the layout are complete.
    stages_complete: usize,
    /// One for each bucket that has been started, in the order of their start.
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

    /// Elements in `range`, the next part in the order, are complete: exchanges every bucket that now is.
    pub fn complete(&mut self, range: &Range<usize>) {
        assert_eq!(*range, self.order.stages()[self.stages_complete].part, "backward goes by another order");
        self.begin_next();
    }

    /// All that has not been complete yet is: where a rank has computed nothing, it still takes part in every exchange, in the
    /// order of the others.
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

    /// Waits for all buckets, which have all been begun: beginning them here would be another order than that of other ranks.
    pub fn finish(self) -> Result<(), CollectivesError> {
        assert_eq!(self.stages_complete, self.order.stages().len(), "backward has left something out");
        self.started.into_iter().try_for_each(Pending::wait)
    }
}
