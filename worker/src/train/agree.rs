//! What the ranks tell each other in every step: one small reduction, after which all know the same.

use tch::Tensor;

use crate::collectives::{Label, Pending, ReduceOp};
use crate::error::JobError;
use crate::world::World;

/// An agreement under way, beside what the step still has to do.
pub struct Agreement {
    sums: Tensor,
    pending: Pending,
}

/// What all ranks know after a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreed {
    /// Some rank was asked to stop.
    pub stop: bool,
    /// Some rank was asked to save.
    pub save: bool,
    /// Some rank is still busy with the checkpoint under way.
    pub save_is_busy: bool,
}

impl Agreement {
    /// Starts to tell the others what was asked of this rank, and whether it is still saving.
    pub fn begin(world: &World, save_is_busy: bool) -> Self {
        let mine = [world.requests.wants_stop(), world.requests.take_save(), save_is_busy];
        let sums = Tensor::from_slice(&mine.map(i64::from));
        let pending = world.collectives.all_reduce(&sums, ReduceOp::Sum, Label::new("requests"));
        Agreement { sums, pending }
    }

    /// Waits for the others.
    pub fn finish(self) -> Result<Agreed, JobError> {
        self.pending.wait()?;
        let is_any = |i: i64| self.sums.int64_value(&[i]) > 0;
        Ok(Agreed { stop: is_any(0), save: is_any(1), save_is_busy: is_any(2) })
    }
}
