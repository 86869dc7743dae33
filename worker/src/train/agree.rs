//! What the ranks tell each other after every step: one small reduction, after which all know the same.

use tch::Tensor;

use super::state::StepOutcome;
use crate::collectives::{Label, ReduceOp};
use crate::error::JobError;
use crate::world::World;

/// What all ranks know after a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreed {
    /// Mean cross-entropy of the global batch, in nats per token.
    pub loss: f64,
    /// Whether the gradients were finite, so that the update was made.
    pub is_finite: bool,
    /// Some rank was asked to stop.
    pub stop: bool,
    /// Some rank was asked to save.
    pub save: bool,
    /// Some rank is still busy with the checkpoint under way.
    pub save_is_busy: bool,
}

/// Exchanges what ranks know alone: their part of the loss, what was asked of them, whether they are still saving.
pub fn after_step(world: &World, outcome: &StepOutcome, save_is_busy: bool) -> Result<Agreed, JobError> {
    let flag = |is_set: bool| if is_set { 1.0 } else { 0.0 };
    let mine =
        [outcome.loss_sum, flag(world.requests.wants_stop()), flag(world.requests.take_save()), flag(save_is_busy)];
    let sums = Tensor::from_slice(&mine);
    world.collectives.all_reduce(&sums, ReduceOp::Sum, Label::new("the loss and requests")).wait()?;
    let sum = |i: i64| sums.double_value(&[i]);
    Ok(Agreed {
        loss: sum(0) / world.config.batch_plan().tokens_per_step() as f64,
        // The norm is of gradients that all ranks have reduced to the same bits.
        is_finite: outcome.grad_norm.is_finite(),
        stop: sum(1) > 0.0,
        save: sum(2) > 0.0,
        save_is_busy: sum(3) > 0.0,
    })
}
