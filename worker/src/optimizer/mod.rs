//! AdamW over the flat layout: decoupled weight decay on matrices only.

use common::config::OptimizerConfig;
use tch::{Device, Kind, TchError, Tensor};

use crate::gradients::Clip;
use crate::libtorch::{AdamW, AdamWTensors};
use crate::model::parameters::Layout;

/// The optimizer's state and its views of weights and gradients.
pub struct Optimizer {
    /// First moments, flat [P].
    pub exp_avg: Tensor,
    /// Second moments, flat [P].
    pub exp_avg_sq: Tensor,
    /// Updates made, a float32 scalar: steps that were skipped do not count.
    updates: Tensor,
    config: OptimizerConfig,
    decayed: AdamWTensors,
    not_decayed: AdamWTensors,
}

impl Optimizer {
    /// A fresh optimizer of `weights`, driven by `gradients`; both flat [P], f32.
    pub fn new(layout: &Layout, weights: &Tensor, gradients: &Tensor, config: &OptimizerConfig) -> Self {
        let (exp_avg, exp_avg_sq) = (weights.zeros_like(), weights.zeros_like());
        let mut decayed = AdamWTensors::default();
        let mut not_decayed = AdamWTensors::default();
        for parameter in &layout.parameters {
            let group = if parameter.is_decayed() { &mut decayed } else { &mut not_decayed };
            group.parameters.push(parameter.of(weights));
            group.gradients.push(parameter.of(gradients));
            group.exp_avgs.push(parameter.of(&exp_avg));
            group.exp_avg_sqs.push(parameter.of(&exp_avg_sq));
        }
        let updates = Tensor::zeros([], (Kind::Float, weights.device()));
        Optimizer { exp_avg, exp_avg_sq, updates, config: config.clone(), decayed, not_decayed }
    }

    /// One update with the clipping that `clip` decided; it changes nothing where the gradients are not finite.
    pub fn update(&mut self, learning_rate: f64, clip: &Clip) -> Result<(), TchError> {
        let step = &self.updates + 1.0;
        let constants = AdamW {
            learning_rate,
            beta1: self.config.beta1,
            beta2: self.config.beta2,
            weight_decay: self.config.weight_decay,
            epsilon: self.config.epsilon,
        };
        constants.update(&self.decayed, &step, &clip.grad_scale, &clip.found_inf)?;
        let without_decay = AdamW { weight_decay: 0.0, ..constants };
        without_decay.update(&self.not_decayed, &step, &clip.grad_scale, &clip.found_inf)?;
        self.updates = step - &clip.found_inf;
        Ok(())
    }

    /// Updates made so far.
    pub fn updates(&self) -> u64 {
        self.updates.double_value(&[]) as u64
    }

    /// Continues after `updates` updates; the moments are set by who restores them.
    pub fn set_updates(&mut self, updates: u64) {
        // Exact up to 2^24 updates, as in PyTorch, whose step counter is float32 too.
        self.updates = Tensor::full([], updates as f64, (Kind::Float, Device::Cpu)).to_device(self.updates.device());
    }
}
