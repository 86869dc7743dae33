//! What the ranks tell each other in every step: one small reduction, after which all know the same.

use tch::Tensor;

use crate::collectives::{Label, Pending, ReduceOp};
use crate::error::JobError;
use crate::world::World;

use crate::saving::save::Saver;

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
    /// Some rank was asked to save, or rank 0's clock says that it is time.
    pub save: bool,
    /// Rank 0's clock says that it is time to save on the hosts.
    pub save_on_hosts: bool,
    /// Some rank is still busy with the checkpoint under way.
    pub save_is_busy: bool,
}

impl Agreement {
    /// Starts to tell the others what was asked of this rank, and how far its saves are.
    pub fn begin(world: &World, saver: &Saver<'_>) -> Self {
        // Taken in any case, or it would come back.
        let is_asked = world.requests.take_save();
        let asks = [is_asked || saver.is_time(), saver.is_time_on_hosts()];
        let mine = [world.requests.wants_stop(), asks[0], asks[1], saver.is_busy()];
        let sums = Tensor::from_slice(&mine.map(i64::from));
        let pending = world.collectives.all_reduce(&sums, ReduceOp::Sum, Label::new("requests"));
        Agreement { sums, pending }
    }

    /// Waits for the others.
    pub fn finish(self) -> Result<Agreed, JobError> {
        self.pending.wait()?;
        let is_any = |i: i64| self.sums.int64_value(&[i]) > 0;
        Ok(Agreed { stop: is_any(0), save: is_any(1), save_on_hosts: is_any(2), save_is_busy: is_any(3) })
    }
}
