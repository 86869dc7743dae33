//! AdamW (Loshchilov and Hutter, 2019) over a flat range, with clipping folded in.

use tch::{TchError, Tensor};

use super::{ffi, floats, suits_cpu_kernel};
use crate::libtorch::{AdamW, AdamWTensors};

/// A range that is updated: tensors of the same shape [n]. Moments and weights are float32.
#[derive(Debug)]
pub struct AdamWRange {
    /// Updated in place.
    pub parameters: Tensor,
    /// Float32, or bfloat16.
    pub gradients: Tensor,
    /// First moments, updated in place.
    pub exp_avg: Tensor,
    /// Second moments, updated in place.
    pub exp_avg_sq: Tensor,
}

/// The scalars that decide an update: float32 scalars where the weights are, so that none has to come to the host.
#[derive(Debug)]
pub struct AdamWScalars<'a> {
    /// Number of this update, from 1.
    pub step: &'a Tensor,
    /// What the gradients are divided by.
    pub grad_scale: &'a Tensor,
    /// 1 where nothing is to be updated.
    pub skip: &'a Tensor,
}

/// One update of `ranges` in place. The gradients may be left divided.
pub fn adamw(constants: &AdamW, ranges: &[AdamWRange], scalars: &AdamWScalars<'_>) -> Result<(), TchError> {
    let suits = |range: &AdamWRange| {
        [&range.parameters, &range.gradients, &range.exp_avg, &range.exp_avg_sq].iter().all(|t| suits_cpu_kernel(t))
    };
    if !ranges.iter().all(suits) {
        return twin(constants, ranges, scalars);
    }
    if scalars.skip.double_value(&[]) != 0.0 {
        return Ok(());
    }
    let (step, grad_factor) = (scalars.step.double_value(&[]), 1.0 / scalars.grad_scale.double_value(&[]));
    for range in ranges {
        let n = range.parameters.numel();
        assert!([&range.gradients, &range.exp_avg, &range.exp_avg_sq].iter().all(|t| t.numel() == n));
        // SAFETY: four contiguous float32 tensors of n elements, and nobody else holds their memory meanwhile.
        unsafe {
            ffi::convoy_cpu_adamw(
                floats(&range.parameters),
                floats(&range.gradients),
                floats(&range.exp_avg),
                floats(&range.exp_avg_sq),
                n as i64,
                step,
                constants.learning_rate,
                constants.beta1,
                constants.beta2,
                constants.weight_decay,
                constants.epsilon,
                grad_factor,
            );
        }
    }
    Ok(())
}

/// The same by libtorch's fused operation.
pub fn twin(constants: &AdamW, ranges: &[AdamWRange], scalars: &AdamWScalars<'_>) -> Result<(), TchError> {
    let mut tensors = AdamWTensors::default();
    for range in ranges {
        tensors.parameters.push(range.parameters.shallow_clone());
        // libtorch wants gradients of the weights' kind.
        tensors.gradients.push(range.gradients.to_kind(range.parameters.kind()));
        tensors.exp_avgs.push(range.exp_avg.shallow_clone());
        tensors.exp_avg_sqs.push(range.exp_avg_sq.shallow_clone());
    }
    constants.update(&tensors, scalars.step, scalars.grad_scale, scalars.skip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn ranges() -> Vec<AdamWRange> {
        let draw = |n| Tensor::randn([n], (Kind::Float, Device::Cpu));
        let range = |n| AdamWRange {
            parameters: draw(n),
            gradients: draw(n) * 1e-3,
            exp_avg: draw(n) * 1e-3,
            exp_avg_sq: draw(n).square() * 1e-6,
        };
        [1, 7, 1000, 100_003].map(range).into()
    }

    fn copies(ranges: &[AdamWRange]) -> Vec<AdamWRange> {
        let copy = |range: &AdamWRange| AdamWRange {
            parameters: range.parameters.copy(),
            gradients: range.gradients.copy(),
            exp_avg: range.exp_avg.copy(),
            exp_avg_sq: range.exp_avg_sq.copy(),
        };
        ranges.iter().map(copy).collect()
    }

    #[test]
    fn the_kernel_is_its_twin() {
        let constants = AdamW { learning_rate: 1e-3, beta1: 0.9, beta2: 0.95, weight_decay: 0.1, epsilon: 1e-8 };
        for (step, grad_scale, skip) in [(1.0, 1.0, 0.0), (7.0, 3.5, 0.0), (1000.0, 1.0, 0.0), (3.0, 2.0, 1.0)] {
            let scalars = [step, grad_scale, skip].map(|x: f64| Tensor::from(x as f32));
            let scalars = AdamWScalars { step: &scalars[0], grad_scale: &scalars[1], skip: &scalars[2] };
            let before = ranges();
            let (ours, theirs) = (copies(&before), copies(&before));
            adamw(&constants, &ours, &scalars).unwrap();
            twin(&constants, &theirs, &scalars).unwrap();
            for ((a, b), old) in ours.iter().zip(&theirs).zip(&before) {
                for (a, b) in [(&a.parameters, &b.parameters), (&a.exp_avg, &b.exp_avg), (&a.exp_avg_sq, &b.exp_avg_sq)]
                {
                    let largest = b.abs().max().double_value(&[]);
                    let error = (a - b).abs().max().double_value(&[]) / largest;
                    assert!(error < 1e-6, "step {step}: off by {error:e}");
                }
                assert_eq!(a.parameters == old.parameters, skip == 1.0);
            }
        }
    }
}
