//! The validation loss, always over the same sequences, from the start of the validation data.

use common::config::RunConfig;
use common::metrics::ValidationRecord;
use common::worker_contract::Phase;
use tch::{Device, Kind, Tensor};

use crate::collectives::{Collectives, Label, ReduceOp};
use crate::data::DataSet;
use crate::error::JobError;
use crate::observe::observer::Observer;
use crate::step::state::TrainState;
use crate::world::World;

/// This rank's validation sequences, read once at the start, so that no measurement waits for storage.
pub struct Validation {
    /// Tokens, row-major `[sequences, T + 1]`; empty if there is no validation data.
    tokens: Vec<i32>,
    /// Number of validation sequences over all ranks.
    sequences: u64,
    sequence_tokens: u64,
    micro_sequences: u64,
}

impl Validation {
    /// Reads this rank's share of `evaluation.validation_sequences`, or of all sequences if there are fewer.
    pub fn open(config: &RunConfig, ranks: &dyn Collectives) -> Result<Self, JobError> {
        let sequence_tokens = config.batch.sequence_tokens;
        let mut validation = Validation {
            tokens: Vec::new(),
            sequences: 0,
            sequence_tokens,
            micro_sequences: config.batch.micro_sequences,
        };
        if let Some(source) = config.data.validation.first() {
            let set = DataSet::open(source, &config.data, &config.storage, sequence_tokens)?;
            validation.sequences = config.evaluation.validation_sequences.min(set.sequences());
            let share = ranks.world_size().share(ranks.rank(), validation.sequences);
            validation.tokens = set.read(&share.collect::<Vec<_>>())?;
        }
        Ok(validation)
    }

    /// Measures and records the loss, the mean cross-entropy in nats per token. Does nothing without validation data.
    pub fn measure(&self, state: &mut TrainState, world: &World, observer: &Observer) -> Result<(), JobError> {
        if self.sequences == 0 {
            return Ok(());
        }
        world.control.report(state.step, Phase::Evaluating);
        state.weights_are_here()?;
        let _no_grad = tch::no_grad_guard();
        let loss = Tensor::zeros([1], (Kind::Double, Device::Cpu));
        let row = self.sequence_tokens as usize + 1;
        let micro_batches = self.tokens.chunks(self.micro_sequences as usize * row);
        let all = micro_batches.len();
        for (done, micro) in micro_batches.enumerate() {
            world.control.report_micro_batches(done, all);
            let sum = state.model.loss_sum(&state.batch(micro, micro.len() / row)?)?;
            let _ = loss.shallow_clone().g_add_(&sum.to_device(Device::Cpu));
        }
        world.control.report_micro_batches(all, all);
        world.collectives.all_reduce(&loss, ReduceOp::Sum, Label::new("the validation loss")).wait()?;
        let validation_loss = loss.double_value(&[0]) / (self.sequences * self.sequence_tokens) as f64;
        observer.validation(ValidationRecord {
            step: state.step,
            validation_loss,
            validation_sequences: self.sequences,
        });
        Ok(())
    }
}
