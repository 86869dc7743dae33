//! AdamW over the flat layout, whole or in this rank's parts (ZeRO stage 1, Rajbhandari et al., 2020).
//!
//! - [`gather`]: sends updated weights to every rank, beside the next forward.

pub mod gather;

use std::ops::Range;

use common::config::OptimizerConfig;
use tch::{Device, Kind, TchError, Tensor};

use crate::gradients::Verdict;
use crate::kernels::adamw::{AdamWRange, AdamWScalars, AdamWSlice, adamw};
pub use crate::kernels::rounding::Rounding;
use crate::libtorch::AdamW;
use crate::model::Gpt2;
use crate::model::parameters::Layout;

/// Number of elements that are rounded at once when all are: on a GPU, each takes some dozens of bytes meanwhile.
const ROUNDED_AT_ONCE: usize = 16 << 20;

/// The optimizer's state on this rank, and its views of weights and gradients.
pub struct Optimizer {
    /// Slices that this rank updates, ascending, which is the order of forward.
    slices: Vec<Slice>,
    /// Float32 weights of all slices, one after the other; `None` if the model's own are float32.
    master: Option<Tensor>,
    /// First moments of all slices, one after the other.
    exp_avg: Tensor,
    /// Second moments of all slices, one after the other.
    exp_avg_sq: Tensor,
    /// Number of updates made, a float32 scalar; skipped steps do not count.
    updates: Tensor,
    config: OptimizerConfig,
    rounding: Rounding,
}

/// A contiguous part of the flat layout that this rank updates.
struct Slice {
    /// Range in the flat layout.
    range: Range<usize>,
    /// Float32 weights, which may be the model's own.
    master: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    /// Operands of an update.
    adamw: AdamWSlice,
}

/// A part of one parameter's optimizer state on this rank, as views.
pub struct StatePart {
    /// Index of the parameter in the layout.
    pub parameter: usize,
    /// Range of the parameter's elements, row-major.
    pub elements: Range<usize>,
    /// Float32 weights.
    pub master: Tensor,
    /// First moments.
    pub exp_avg: Tensor,
    /// Second moments.
    pub exp_avg_sq: Tensor,
}

impl Clone for StatePart {
    /// Returns other views of this part.
    fn clone(&self) -> Self {
        let [master, exp_avg, exp_avg_sq] = [&self.master, &self.exp_avg, &self.exp_avg_sq].map(Tensor::shallow_clone);
        StatePart { parameter: self.parameter, elements: self.elements.clone(), master, exp_avg, exp_avg_sq }
    }
}

impl Optimizer {
    /// Creates a fresh optimizer for the `ranges` of `model`'s weights, ascending, which are driven by `gradients`,
    /// flat `[P]`.
    pub fn new(
        model: &Gpt2,
        gradients: &Tensor,
        ranges: Vec<Range<usize>>,
        config: &OptimizerConfig,
        rounding: Rounding,
    ) -> Self {
        let elements = ranges.iter().map(Range::len).sum::<usize>() as i64;
        let zeros = || Tensor::zeros([elements], (Kind::Float, model.flat.device()));
        let (exp_avg, exp_avg_sq) = (zeros(), zeros());
        let master = (model.flat.kind() == Kind::BFloat16).then(zeros);
        let mut slices = Vec::with_capacity(ranges.len());
        let mut at = 0;
        for range in ranges {
            let length = range.len() as i64;
            let part = |owned: &Tensor| owned.narrow(0, at, length);
            let in_flat = |flat: &Tensor| flat.narrow(0, range.start as i64, length);
            let update = AdamWRange {
                parameters: master.as_ref().map_or_else(|| in_flat(&model.flat), part),
                gradients: in_flat(gradients),
                exp_avg: part(&exp_avg),
                exp_avg_sq: part(&exp_avg_sq),
                rounded: master.as_ref().map(|_| in_flat(&model.flat)),
                first: range.start,
            };
            let runs = model.layout.runs(&range).into_iter().map(|(run, is_decayed)| (run.len(), is_decayed));
            slices.push(Slice {
                adamw: AdamWSlice::new(&update, &runs.collect::<Vec<_>>()),
                master: update.parameters,
                exp_avg: update.exp_avg,
                exp_avg_sq: update.exp_avg_sq,
                range,
            });
            at += length;
        }
        let updates = Tensor::zeros([], (Kind::Float, model.flat.device()));
        Optimizer { slices, master, exp_avg, exp_avg_sq, updates, config: config.clone(), rounding }
    }

    /// Sets the run's weights after the updates made so far to the float32 `weights [P]`, in host memory. This sets
    /// the rank's own weights and the model's, `flat [P]`, bit for bit as the last of these updates left them.
    pub fn set_weights(&mut self, weights: &Tensor, flat: &Tensor) -> Result<(), TchError> {
        if self.master.is_none() {
            flat.shallow_clone().copy_(weights);
            return Ok(());
        }
        for slice in &mut self.slices {
            slice.master.copy_(&weights.narrow(0, slice.range.start as i64, slice.range.len() as i64));
        }
        for start in (0..flat.numel()).step_by(ROUNDED_AT_ONCE) {
            let part = |t: &Tensor| t.narrow(0, start as i64, ROUNDED_AT_ONCE.min(flat.numel() - start) as i64);
            self.rounding.round(&part(weights).to_device(flat.device()), &part(flat), start, &self.updates)?;
        }
        Ok(())
    }

    /// Returns the float32 weights of slice `index`; `None` if they are the model's own.
    pub fn master(&self, index: usize) -> Option<&Tensor> {
        self.master.as_ref().map(|_| &self.slices[index].master)
    }

    /// Makes one update of slice `index` as `verdict` says; [`end_update`](Self::end_update) follows the last slice.
    pub fn update_slice(&mut self, index: usize, learning_rate: f64, verdict: &Verdict) -> Result<(), TchError> {
        let step = &self.updates + 1.0;
        let scalars = AdamWScalars { step: &step, grad_scale: &verdict.grad_scale, skip: &verdict.skip };
        let constants = AdamW {
            learning_rate,
            beta1: self.config.beta1,
            beta2: self.config.beta2,
            weight_decay: self.config.weight_decay,
            epsilon: self.config.epsilon,
        };
        adamw(&constants, self.rounding, &self.slices[index].adamw, &scalars)
    }

    /// Counts the update, unless `verdict` skipped it.
    pub fn end_update(&mut self, verdict: &Verdict) {
        self.updates = &self.updates + 1.0 - &verdict.skip;
    }

    /// Returns the number of updates made so far.
    pub fn updates(&self) -> u64 {
        self.updates.double_value(&[]) as u64
    }

    /// Continues after `updates` updates; the caller restores the moments.
    pub fn set_updates(&mut self, updates: u64) {
        // Exact up to 2^24 updates, as in PyTorch, whose step counter is float32 too.
        self.updates = Tensor::full([], updates as f64, (Kind::Float, Device::Cpu)).to_device(self.updates.device());
    }

    /// Returns the ranges of the flat layout that this rank updates, ascending.
    pub fn ranges(&self) -> Vec<Range<usize>> {
        self.slices.iter().map(|slice| slice.range.clone()).collect()
    }

    /// Returns views of the first and second moments of [`ranges`](Self::ranges), one after the other.
    pub fn moments(&self) -> [Tensor; 2] {
        [self.exp_avg.shallow_clone(), self.exp_avg_sq.shallow_clone()]
    }

    /// Returns views of this rank's state, divided at the borders of parameters, unpadded.
    pub fn parts(&self, layout: &Layout) -> Vec<StatePart> {
        let parts = self.slices.iter().flat_map(|slice| {
            let overlapping = layout.overlapping(&slice.range);
            overlapping.map(|(parameter, range)| {
                let start = layout.parameters[parameter].start;
                let part =
                    |owned: &Tensor| owned.narrow(0, (range.start - slice.range.start) as i64, range.len() as i64);
                StatePart {
                    parameter,
                    elements: range.start - start..range.end - start,
                    master: part(&slice.master),
                    exp_avg: part(&slice.exp_avg),
                    exp_avg_sq: part(&slice.exp_avg_sq),
                }
            })
        });
        parts.collect()
    }
}
