//! The agreement of the ranks in every step: one small reduction, after which all have identical flags.

use tch::Tensor;

use crate::collectives::{Collectives, Label, Pending, ReduceOp};
use crate::error::JobError;

/// Flags of a rank in a step, or, once agreed, those that any rank has set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Flags {
    /// Whether the rank was asked to stop.
    pub stop: bool,
    /// Whether the rank was asked to save, or is rank 0 and its clock says that a save is due.
    pub save: bool,
    /// Whether rank 0's clock says that a save on the hosts is due.
    pub save_on_hosts: bool,
    /// Whether the rank is still busy with the save under way.
    pub save_is_busy: bool,
}

/// An agreement under way, beside the rest of the step.
pub struct Agreement {
    sums: Tensor,
    pending: Pending,
}

impl Agreement {
    /// Starts to send the flags `mine` to the other `ranks`.
    pub fn begin(mine: &Flags, ranks: &dyn Collectives) -> Self {
        let mine = [mine.stop, mine.save, mine.save_on_hosts, mine.save_is_busy];
        let sums = Tensor::from_slice(&mine.map(i64::from));
        let pending = ranks.all_reduce(&sums, ReduceOp::Sum, Label::new("requests"));
        Agreement { sums, pending }
    }

    /// Waits for the other ranks. Returns the flags that any rank has set.
    pub fn finish(self) -> Result<Flags, JobError> {
        self.pending.wait()?;
        let is_any = |i: i64| self.sums.int64_value(&[i]) > 0;
        Ok(Flags { stop: is_any(0), save: is_any(1), save_on_hosts: is_any(2), save_is_busy: is_any(3) })
    }
}
