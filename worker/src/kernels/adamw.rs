//! AdamW (Loshchilov and Hutter, 2019) over a flat range, with clipping and the rounding of the new weights folded in.

use tch::{TchError, Tensor};

use super::rounding::{Rounding, folded};
use super::{cuda, ffi, floats, suits_cpu_kernel};
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
    /// Where the new weights go once more, as bfloat16.
    pub rounded: Option<Tensor>,
    /// Which element of the model's the first one is.
    pub first: usize,
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
pub fn adamw(
    constants: &AdamW,
    rounding: Rounding,
    ranges: &[AdamWRange],
    scalars: &AdamWScalars<'_>,
) -> Result<(), TchError> {
    if let Some(gpu) = ranges.first().and_then(|range| cuda::of(&range.parameters)) {
        let update = |range| cuda::adamw(gpu, constants.into(), rounding.of_range(range), range, scalars);
        return ranges.iter().try_for_each(update);
    }
    let suits = |range: &AdamWRange| {
        [&range.parameters, &range.gradients, &range.exp_avg, &range.exp_avg_sq].iter().all(|t| suits_cpu_kernel(t))
    };
    if !ranges.iter().all(suits) {
        return twin(constants, rounding, ranges, scalars);
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
    round(rounding, ranges, scalars)
}

/// Rounds the updated weights of `ranges`.
fn round(rounding: Rounding, ranges: &[AdamWRange], scalars: &AdamWScalars<'_>) -> Result<(), TchError> {
    // A skipped update leaves the weights as they are.
    let made = scalars.step - scalars.skip;
    ranges.iter().try_for_each(|range| match &range.rounded {
        Some(rounded) => rounding.round(&range.parameters, rounded, range.first, &made),
        None => Ok(()),
    })
}

impl Rounding {
    /// The same for the kernel.
    fn of_range(self, range: &AdamWRange) -> cuda::AdamWRounding {
        match self {
            Rounding::Nearest => cuda::AdamWRounding::default(),
            Rounding::Stochastic(seed) => {
                cuda::AdamWRounding { first: range.first as i64, seed: folded(seed), is_stochastic: 1 }
            }
        }
    }
}

impl From<&AdamW> for cuda::AdamWConstants {
    fn from(constants: &AdamW) -> Self {
        let AdamW { learning_rate, beta1, beta2, weight_decay, epsilon } = *constants;
        cuda::AdamWConstants { learning_rate, beta1, beta2, weight_decay, epsilon }
    }
}

/// The same by libtorch's fused operation.
pub fn twin(
    constants: &AdamW,
    rounding: Rounding,
    ranges: &[AdamWRange],
    scalars: &AdamWScalars<'_>,
) -> Result<(), TchError> {
    let mut tensors = AdamWTensors::default();
    for range in ranges {
        tensors.parameters.push(range.parameters.shallow_clone());
        // libtorch wants gradients of the weights' kind.
        tensors.gradients.push(range.gradients.to_kind(range.parameters.kind()));
        tensors.exp_avgs.push(range.exp_avg.shallow_clone());
        tensors.exp_avg_sqs.push(range.exp_avg_sq.shallow_clone());
    }
    constants.update(&tensors, scalars.step, scalars.grad_scale, scalars.skip)?;
    round(rounding, ranges, scalars)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cuda::places::places;
    use tch::{Device, Kind};

    fn ranges(device: Device, kind: Kind) -> Vec<AdamWRange> {
        tch::manual_seed(11);
        let draw = |n| Tensor::randn([n], (Kind::Float, device));
        // One range begins where nothing is aligned.
        let range = |(n, gap): (i64, i64)| AdamWRange {
            parameters: draw(n + gap).narrow(0, gap, n),
            gradients: (draw(n) * 1e-3).to_kind(kind),
            exp_avg: draw(n) * 1e-3,
            exp_avg_sq: draw(n).square() * 1e-6,
            rounded: (n != 1000).then(|| Tensor::zeros([n], (Kind::BFloat16, device))),
            first: 7 * n as usize,
        };
        [(1, 0), (7, 0), (1000, 0), (5000, 1), (100_003, 0)].map(range).into()
    }

    fn copies(ranges: &[AdamWRange]) -> Vec<AdamWRange> {
        let copy = |range: &AdamWRange| AdamWRange {
            parameters: range.parameters.copy(),
            gradients: range.gradients.copy(),
            exp_avg: range.exp_avg.copy(),
            exp_avg_sq: range.exp_avg_sq.copy(),
            rounded: range.rounded.as_ref().map(Tensor::copy),
            first: range.first,
        };
        ranges.iter().map(copy).collect()
    }

    const CONSTANTS: AdamW = AdamW { learning_rate: 1e-3, beta1: 0.9, beta2: 0.95, weight_decay: 0.1, epsilon: 1e-8 };
    const ROUNDING: Rounding = Rounding::Stochastic(1 << 40 | 5);
    /// Number of the update, what gradients are divided by, and whether it is skipped.
    const CASES: [(f64, f64, f64); 4] = [(1.0, 1.0, 0.0), (7.0, 3.5, 0.0), (1000.0, 1.0, 0.0), (3.0, 2.0, 1.0)];

    /// Holds `update` and the twin together on `device`, in every case, with gradients of `kind`.
    fn assert_is_twin(
        (device, kind): (Device, Kind),
        update: impl Fn(&[AdamWRange], &AdamWScalars<'_>) -> Result<(), TchError>,
    ) {
        for (step, grad_scale, skip) in CASES {
            let scalars = [step, grad_scale, skip].map(|x: f64| Tensor::from(x as f32).to_device(device));
            let scalars = AdamWScalars { step: &scalars[0], grad_scale: &scalars[1], skip: &scalars[2] };
            let before = ranges(device, kind);
            let (ours, theirs) = (copies(&before), copies(&before));
            update(&ours, &scalars).unwrap();
            twin(&CONSTANTS, ROUNDING, &theirs, &scalars).unwrap();
            for ((a, b), old) in ours.iter().zip(&theirs).zip(&before) {
                for (a, b) in [(&a.parameters, &b.parameters), (&a.exp_avg, &b.exp_avg), (&a.exp_avg_sq, &b.exp_avg_sq)]
                {
                    let largest = b.abs().max().double_value(&[]);
                    let error = (a - b).abs().max().double_value(&[]) / largest;
                    assert!(error < 1e-6, "step {step}: off by {error:e}");
                }
                assert_eq!(a.parameters == old.parameters, skip == 1.0);
                let Some(rounded) = &a.rounded else { continue };
                let expected = old.rounded.as_ref().unwrap().copy();
                if skip == 0.0 {
                    let update = Tensor::from(step as f32).to_device(device);
                    ROUNDING.round(&a.parameters, &expected, a.first, &update).unwrap();
                }
                assert_eq!(*rounded, expected, "step {step}: rounded otherwise");
            }
        }
    }

    #[test]
    fn the_kernel_is_its_twin() {
        assert_is_twin((Device::Cpu, Kind::Float), |ranges, scalars| adamw(&CONSTANTS, ROUNDING, ranges, scalars));
    }

    #[test]
    fn the_kernel_for_gpus_is_its_twin() {
        for (gpu, device) in places() {
            let update = |ranges: &[AdamWRange], scalars: &AdamWScalars<'_>| {
                ranges.iter().try_for_each(|range| {
                    cuda::adamw(gpu, (&CONSTANTS).into(), ROUNDING.of_range(range), range, scalars)
                })
            };
            assert_is_twin((device, Kind::Float), update);
            assert_is_twin((device, Kind::BFloat16), update);
        }
    }
}
