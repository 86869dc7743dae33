//! Flat gradients: exchanged in buckets while backward goes on, then judged.
//!
//! - [`buckets`]: where the flat layout is cut.
//! - [`verdict`]: clipping, and whether a step's update is made at all.

pub mod buckets;
pub mod verdict;

use std::sync::Arc;

use tch::Tensor;

use crate::collectives::{Collectives, CollectivesError, Label, Pending, ReduceOp};
pub use buckets::Buckets;
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
    buckets: Arc<Buckets>,
    reduction: Reduction,
    /// One for each bucket that has been started, in the order of the buckets.
    started: Vec<Pending>,
}

impl<'a> Exchange<'a> {
    /// Begins the exchange of `gradients`, flat [P], in place.
    pub fn begin(
        collectives: &'a dyn Collectives,
        gradients: &Tensor,
        buckets: &Arc<Buckets>,
        reduction: Reduction,
    ) -> Self {
        let (gradients, started) = (gradients.shallow_clone(), Vec::with_capacity(buckets.ranges().len()));
        Exchange { collectives, gradients, buckets: buckets.clone(), reduction, started }
    }

    /// Elements from `start` on are complete: exchanges every bucket among them.
    pub fn complete_from(&mut self, start: usize) {
        let waiting = &self.buckets.ranges()[self.started.len()..];
        for range in waiting.iter().take_while(|bucket| bucket.start >= start) {
            let bucket = self.gradients.narrow(0, range.start as i64, range.len() as i64);
            let label = Label::bucket("gradients", self.started.len());
            self.started.push(match self.reduction {
                Reduction::Whole => self.collectives.all_reduce(&bucket, ReduceOp::Sum, label),
                Reduction::Parts => {
                    let mine = self.buckets.part(range, self.collectives.rank());
                    let mine = self.gradients.narrow(0, mine.start as i64, mine.len() as i64);
                    self.collectives.reduce_scatter(&bucket, &mine, label)
                }
            });
        }
    }

    /// Waits for all buckets.
    pub fn finish(mut self) -> Result<(), CollectivesError> {
        self.complete_from(0);
        self.started.into_iter().try_for_each(Pending::wait)
    }
}
