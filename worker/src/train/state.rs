//! Everything that training changes, and one step of it.

use std::ops::Range;
use std::time::Duration;

use common::batch_plan::BatchPlan;
use common::config::RunConfig;
use common::lr_schedule::LrSchedule;
use tch::{Device, Kind, Tensor};

use super::agree::Agreed;
use crate::collectives::Collectives;
use crate::data::TokenStream;
use crate::error::JobError;
use crate::gradients::{Clip, Exchange};
use crate::model::{Batch, Gpt2};
use crate::optimizer::Optimizer;

/// So many skipped updates in a row end the run.
const SKIPPED_MAX: u64 = 10;

/// The model, the optimizer and the place in the run.
pub struct TrainState {
    /// Completed steps.
    pub step: u64,
    /// Training sequences consumed over all ranks: the whole cursor of the token stream.
    pub consumed: u64,
    /// The model.
    pub model: Gpt2,
    /// Its optimizer.
    pub optimizer: Optimizer,
    gradients: Tensor,
    buckets: Vec<Range<usize>>,
    plan: BatchPlan,
    schedule: LrSchedule,
    clip_norm: f64,
    skipped_in_a_row: u64,
}

/// What this rank knows after a step.
#[derive(Debug, Clone)]
pub struct StepOutcome {
    /// Sum of the cross-entropies of this rank's tokens, in nats.
    pub loss_sum: f64,
    /// Norm of all ranks' gradients before clipping.
    pub grad_norm: f64,
    /// Learning rate of the update.
    pub learning_rate: f64,
    /// How long the step waited for tokens.
    pub data_wait: Duration,
    /// How long it waited for the exchange of gradients after its own work was done.
    pub exposed_comm: Duration,
}

impl TrainState {
    /// A fresh state: parameters from `run.seed`, nothing consumed.
    pub fn initialise(config: &RunConfig) -> Self {
        tch::no_grad(|| {
            let model = Gpt2::initialised(&config.model, Kind::Float, Device::Cpu, config.run.seed);
            let gradients = model.flat.zeros_like();
            let optimizer = Optimizer::new(&model.layout, &model.flat, &gradients, &config.optimizer);
            TrainState {
                step: 0,
                consumed: 0,
                buckets: model.layout.buckets(config.parallel.bucket_bytes),
                model,
                optimizer,
                gradients,
                plan: config.batch_plan(),
                schedule: config.lr_schedule(),
                clip_norm: config.optimizer.clip_norm,
                skipped_in_a_row: 0,
            }
        })
    }

    /// One step with the next micro batches of `stream`.
    pub fn train_step(&mut self, ranks: &dyn Collectives, stream: &mut TokenStream) -> Result<StepOutcome, JobError> {
        let mut data_wait = Duration::ZERO;
        let micro_batches = self.plan.micro_batches(self.consumed, ranks.rank(), ranks.world_size()).count();
        let batches = (0..micro_batches).map(|_| {
            let micro = stream.next()?;
            data_wait += micro.waited;
            Ok(Batch::new(&micro.tokens, micro.batch))
        });
        let outcome = self.step_on(ranks, batches)?;
        Ok(StepOutcome { data_wait, ..outcome })
    }

    /// One step on this rank's `batches`: accumulate, reduce, clip, update.
    pub fn step_on(
        &mut self,
        ranks: &dyn Collectives,
        batches: impl ExactSizeIterator<Item = Result<Batch, JobError>>,
    ) -> Result<StepOutcome, JobError> {
        let _no_grad = tch::no_grad_guard();
        let learning_rate = self.schedule.at(self.step);
        let scale = 1.0 / self.plan.tokens_per_step() as f64;
        let _ = self.gradients.zero_();
        let mut loss = Tensor::zeros([], (Kind::Double, self.gradients.device()));
        let mut exchange = Exchange::begin(ranks, &self.gradients, &self.buckets);
        let micro_batches = batches.len();
        for (i, batch) in batches.enumerate() {
            let is_last = i + 1 == micro_batches;
            let mut complete_from = |start| {
                if is_last {
                    exchange.complete_from(start);
                }
            };
            loss += self.model.accumulate_gradients(&batch?, scale, &self.gradients, &mut complete_from)?;
        }
        let exposed_comm = exchange.finish()?;
        let clip = Clip::judge(&self.model.layout, &self.gradients, self.clip_norm);
        self.optimizer.update(learning_rate, &clip)?;
        self.step += 1;
        self.consumed += self.plan.global_sequences;
        Ok(StepOutcome {
            loss_sum: loss.double_value(&[]),
            grad_norm: clip.norm.double_value(&[]),
            learning_rate,
            data_wait: Duration::ZERO,
            exposed_comm,
        })
    }

    /// Ends the run when too many updates in a row were skipped; every rank judges the same numbers.
    pub fn judge(&mut self, agreed: &Agreed) -> Result<(), JobError> {
        self.skipped_in_a_row = if agreed.is_finite { 0 } else { self.skipped_in_a_row + 1 };
        match self.skipped_in_a_row < SKIPPED_MAX {
            true => Ok(()),
            false => Err(JobError::NotFinite { step: self.step, skipped: self.skipped_in_a_row }),
        }
    }

    /// Fails on every rank unless all hold the same parameters, bit for bit.
    pub fn agree_on_parameters(&self, ranks: &dyn Collectives) -> Result<(), JobError> {
        let bits = self.model.flat.view_dtype(Kind::Int).sum(Kind::Int64).int64_value(&[]);
        ranks.agree_same(bits as u64, "the parameters")?;
        ranks.agree_same(self.consumed, "the place in the data")?;
        Ok(())
    }

    /// Tokens consumed so far.
    pub fn tokens(&self) -> u64 {
        self.consumed * self.plan.sequence_tokens
    }
}
