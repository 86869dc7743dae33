//! All state that training changes. A step changes it in two halves: [`super::accumulate`], then [`super::update`].

use std::ops::Range;
use std::sync::Arc;

use common::batch_plan::BatchPlan;
use common::config::{OnBadNorm, Recompute, RunConfig};
use common::lr_schedule::LrSchedule;
use common::topology::{Rank, WorldSize};
use tch::{Device, Kind, TchError, Tensor};

use super::upload::Upload;
use crate::collectives::{Collectives, Label};
use crate::error::JobError;
use crate::gradients::verdict::NormHistory;
use crate::gradients::{Buckets, ExchangeOrder, Reduction};
use crate::model::parameters::{Layout, initialise};
use crate::model::{Batch, Gpt2, kind};
use crate::optimizer::gather::WeightGather;
use crate::optimizer::{Optimizer, Rounding};

/// The model, the optimizer and the place in the run.
pub struct TrainState {
    /// Number of completed steps.
    pub step: u64,
    /// Training sequences consumed over all ranks: the whole cursor of the token stream.
    pub consumed: u64,
    /// The model, whose weights may still be arriving; see [`weights_are_here`](Self::weights_are_here).
    pub model: Gpt2,
    /// The model's optimizer.
    pub optimizer: Optimizer,
    /// Norms of recent steps' gradients.
    pub norms: NormHistory,
    pub(super) gradients: Tensor,
    pub(super) order: Arc<ExchangeOrder>,
    pub(super) reduction: Reduction,
    pub(super) gather: WeightGather,
    pub(super) upload: Upload,
    pub(super) plan: BatchPlan,
    pub(super) schedule: LrSchedule,
    pub(super) recompute: Recompute,
    pub(super) on_bad_norm: OnBadNorm,
    /// Number of updates skipped since the last one that was made.
    pub skipped_in_a_row: u64,
    /// Number of steps from one comparison of the ranks' state to the next; 0 for none.
    pub(super) verify_every_steps: u64,
    /// Whether the present state is being saved, and is therefore compared.
    pub(super) is_saved: bool,
}

impl TrainState {
    /// Creates the initial state of rank `rank` on `device`: parameters from `run.seed`, nothing consumed.
    pub fn initialise(config: &RunConfig, device: Device, rank: Rank, world: WorldSize) -> Result<Self, JobError> {
        let _no_grad = tch::no_grad_guard();
        let train = &config.train;
        let layout = Layout::new(&config.model).padded_to(Buckets::multiple(world));
        let model = Gpt2::with_layout(&config.model, layout, kind(train.precision), device);
        let gradients = Tensor::zeros([model.layout.elements() as i64], (kind(train.gradients), device));
        let bucket_elements = config.parallel.bucket_bytes / train.gradients.bytes();
        let buckets = Buckets::new(model.layout.elements(), bucket_elements as usize, world);
        let is_divided = config.parallel.zero == 1;
        let owned: fn(&Buckets, &Range<usize>, Rank) -> Range<usize> =
            if is_divided { Buckets::part } else { |_, bucket, _| bucket.clone() };
        let ranges = buckets.ranges().iter().rev().map(|bucket| owned(&buckets, bucket, rank)).collect();
        let rounding = match train.stochastic_rounding {
            true => Rounding::Stochastic(config.run.seed),
            false => Rounding::Nearest,
        };
        let order = Arc::new(ExchangeOrder::new(buckets, model.layout.completion(train.recompute)));
        let mut state = TrainState {
            step: 0,
            consumed: 0,
            optimizer: Optimizer::new(&model, &gradients, ranges, &config.optimizer, rounding),
            norms: NormHistory::new(&config.optimizer, &gradients),
            model,
            gradients,
            order,
            reduction: if is_divided { Reduction::Parts } else { Reduction::Whole },
            gather: WeightGather::default(),
            upload: Upload::to(device)?,
            plan: config.batch_plan(),
            schedule: config.lr_schedule(),
            recompute: train.recompute,
            on_bad_norm: config.optimizer.on_bad_norm,
            skipped_in_a_row: 0,
            verify_every_steps: config.parallel.verify_every_steps,
            is_saved: false,
        };
        state.set_weights(|layout, flat| initialise(layout, flat, &config.model, config.run.seed))?;
        Ok(state)
    }

    /// Returns the device that this rank computes on.
    pub fn device(&self) -> Device {
        self.gradients.device()
    }

    /// Creates a batch of sequences of T + 1 tokens each, row by row, on the model's device.
    pub fn batch(&self, tokens: &[i32], sequences: usize) -> Result<Batch, JobError> {
        Ok(self.upload.batch(tokens, sequences)?)
    }

    /// Calls `fill` to write all weights, float32, into a flat tensor in host memory, and takes them over.
    pub fn set_weights(&mut self, fill: impl FnOnce(&Layout, &Tensor)) -> Result<(), JobError> {
        let weights = self.host_weights();
        fill(&self.model.layout, &weights);
        self.set_weights_from(&weights)
    }

    /// Returns host memory for all weights, flat, float32: the model's own if that fits. Padding in it is zero.
    pub fn host_weights(&self) -> Tensor {
        match self.has_plain_weights() {
            true => self.model.flat.shallow_clone(),
            false => Tensor::zeros([self.model.layout.elements() as i64], (Kind::Float, Device::Cpu)),
        }
    }

    /// Takes over the weights written into [`host_weights`](Self::host_weights).
    pub fn set_weights_from(&mut self, weights: &Tensor) -> Result<(), JobError> {
        let _no_grad = tch::no_grad_guard();
        if !self.has_plain_weights() {
            self.optimizer.set_weights(weights, &self.model.flat)?;
        }
        Ok(())
    }

    fn has_plain_weights(&self) -> bool {
        self.model.flat.kind() == Kind::Float && self.model.flat.device() == Device::Cpu
    }

    /// Waits until every rank has the model's weights of the last update. Must be called before anything except the
    /// next step reads them.
    pub fn weights_are_here(&mut self) -> Result<(), JobError> {
        Ok(self.gather.finish()?)
    }

    /// Returns whether this rank holds only a part of the optimizer's state, and each other rank another part.
    pub fn is_divided(&self) -> bool {
        self.reduction == Reduction::Parts
    }

    /// Calls `visit` with all float32 weights, bucket by bucket, each with its range in the flat layout. All ranks
    /// must call this together, after the model's weights have arrived.
    pub fn for_each_master_bucket(
        &self,
        ranks: &dyn Collectives,
        mut visit: impl FnMut(&Range<usize>, &Tensor) -> Result<(), TchError>,
    ) -> Result<(), JobError> {
        for (slice, bucket) in self.order.buckets().ranges().iter().rev().enumerate() {
            let (start, length) = (bucket.start as i64, bucket.len() as i64);
            match self.optimizer.master(slice) {
                None => visit(bucket, &self.model.flat.narrow(0, start, length))?,
                Some(whole) if !self.is_divided() => visit(bucket, whole)?,
                Some(part) => {
                    let whole = Tensor::zeros([length], (Kind::Float, part.device()));
                    ranks.all_gather(part, &whole, Label::bucket("master weights", slice)).wait()?;
                    visit(bucket, &whole)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the number of tokens consumed so far.
    pub fn tokens(&self) -> u64 {
        self.consumed * self.plan.sequence_tokens
    }
}
