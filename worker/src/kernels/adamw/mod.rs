//! AdamW (Loshchilov and Hutter, 2019) over a flat range, with clipping and the rounding of the new weights folded in.
//!
//! For each element, in update t, with the gradient g of the loss:
//!
//! ```text
//! g = g / grad_scale
//! m = beta1 m + (1 - beta1) g
//! v = beta2 v + (1 - beta2) g^2
//! w = w - learning_rate (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon) + weight_decay w)
//! ```
//!
//! Sources: `worker/kernels/adamw.cu`, and `convoy_cpu_adamw` in `worker/libtorch/cpu_kernels.cpp`.

pub(super) mod on_gpu;
mod slice;

use tch::TchError;

use super::cpu::{floats, functions, suits_cpu_kernel};
use super::cuda;
use super::rounding::Rounding;
use crate::libtorch::{AdamW, AdamWTensors};
pub use slice::{AdamWRange, AdamWScalars, AdamWSlice};

/// [`adamw`] by libtorch's fused operation.
pub fn twin(
    constants: &AdamW,
    rounding: Rounding,
    slice: &AdamWSlice,
    scalars: &AdamWScalars<'_>,
) -> Result<(), TchError> {
    for decayed in [true, false] {
        let mut tensors = AdamWTensors::default();
        for (range, _) in slice.runs.iter().filter(|(_, is_decayed)| *is_decayed == decayed) {
            tensors.parameters.push(range.parameters.shallow_clone());
            // libtorch requires gradients of the weights' kind.
            tensors.gradients.push(range.gradients.to_kind(range.parameters.kind()));
            tensors.exp_avgs.push(range.exp_avg.shallow_clone());
            tensors.exp_avg_sqs.push(range.exp_avg_sq.shallow_clone());
        }
        if tensors.parameters.is_empty() {
            continue;
        }
        let weight_decay = if decayed { constants.weight_decay } else { 0.0 };
        AdamW { weight_decay, ..*constants }.update(&tensors, scalars.step, scalars.grad_scale, scalars.skip)?;
    }
    round(rounding, &slice.whole, scalars)
}

/// Updates `slice` once, in place. The gradients may be left divided.
pub fn adamw(
    constants: &AdamW,
    rounding: Rounding,
    slice: &AdamWSlice,
    scalars: &AdamWScalars<'_>,
) -> Result<(), TchError> {
    let AdamWRange { parameters, gradients, exp_avg, exp_avg_sq, .. } = &slice.whole;
    if let Some(gpu) = cuda::of(parameters) {
        return on_gpu::adamw(gpu, constants, rounding, slice, scalars);
    }
    if ![parameters, gradients, exp_avg, exp_avg_sq].into_iter().all(suits_cpu_kernel) {
        return twin(constants, rounding, slice, scalars);
    }
    if scalars.skip.double_value(&[]) != 0.0 {
        return Ok(());
    }
    let (step, grad_factor) = (scalars.step.double_value(&[]), 1.0 / scalars.grad_scale.double_value(&[]));
    for (range, is_decayed) in &slice.runs {
        let n = range.parameters.numel();
        assert!([&range.gradients, &range.exp_avg, &range.exp_avg_sq].iter().all(|t| t.numel() == n));
        // SAFETY: four contiguous float32 tensors of n elements, and nothing else uses their memory meanwhile.
        unsafe {
            functions::convoy_cpu_adamw(
                floats(&range.parameters),
                floats(&range.gradients),
                floats(&range.exp_avg),
                floats(&range.exp_avg_sq),
                n as i64,
                step,
                constants.learning_rate,
                constants.beta1,
                constants.beta2,
                if *is_decayed { constants.weight_decay } else { 0.0 },
                constants.epsilon,
                grad_factor,
            );
        }
    }
    round(rounding, &slice.whole, scalars)
}

/// Rounds the updated weights of `range`.
fn round(rounding: Rounding, range: &AdamWRange, scalars: &AdamWScalars<'_>) -> Result<(), TchError> {
    // A skipped update leaves the weights as they are.
    let made = scalars.step - scalars.skip;
    match &range.rounded {
        Some(rounded) => rounding.round(&range.parameters, rounded, range.first, &made),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::places::{assert_close, places};
    use crate::libtorch::random::Random;
    use tch::{Device, Kind, Tensor};

    /// Makes slices of several lengths, some of which begin at unaligned elements.
    fn slices(device: Device, kind: Kind) -> Vec<AdamWSlice> {
        let random = Random::seeded(11);
        let draw = |n| random.normal(&[n], (Kind::Float, device));
        let slice = |(n, gap, runs): (i64, i64, &[(usize, bool)])| {
            let range = AdamWRange {
                parameters: draw(n + gap).narrow(0, gap, n),
                gradients: (draw(n) * 1e-3).to_kind(kind),
                exp_avg: draw(n) * 1e-3,
                exp_avg_sq: draw(n).square() * 1e-6,
                rounded: (n != 1000).then(|| Tensor::zeros([n], (Kind::BFloat16, device))),
                first: 7 * n as usize,
            };
            AdamWSlice::new(&range, runs)
        };
        let cases = [
            (1, 0, &[(1, true)][..]),
            (7, 0, &[(3, false), (2, true), (2, false)]),
            (1000, 0, &[(990, true)]),
            (5000, 1, &[(1001, true), (3999, false)]),
            (100_003, 0, &[(50_002, false), (1, true), (2, false), (49_998, true)]),
        ];
        cases.map(slice).into()
    }

    /// Copies `slices`, with weights rounded as update `made` does by `rounding`.
    fn copies(slices: &[AdamWSlice], rounding: Rounding, made: f64) -> Vec<AdamWSlice> {
        let copy = |slice: &AdamWSlice| {
            if let Some(rounded) = &slice.whole.rounded {
                let made = Tensor::from(made as f32).to_device(rounded.device());
                rounding.round(&slice.whole.parameters, rounded, slice.whole.first, &made).unwrap();
            }
            let whole = AdamWRange {
                parameters: slice.whole.parameters.copy(),
                gradients: slice.whole.gradients.copy(),
                exp_avg: slice.whole.exp_avg.copy(),
                exp_avg_sq: slice.whole.exp_avg_sq.copy(),
                rounded: slice.whole.rounded.as_ref().map(Tensor::copy),
                first: slice.whole.first,
            };
            let runs: Vec<_> = slice.runs.iter().map(|(run, decayed)| (run.parameters.numel(), *decayed)).collect();
            AdamWSlice::new(&whole, &runs)
        };
        slices.iter().map(copy).collect()
    }

    const CONSTANTS: AdamW = AdamW { learning_rate: 1e-3, beta1: 0.9, beta2: 0.95, weight_decay: 0.1, epsilon: 1e-8 };
    const ROUNDINGS: [Rounding; 2] = [Rounding::Nearest, Rounding::Stochastic(1 << 40 | 5)];
    /// Number of the update, divisor of the gradients, and whether the update is skipped.
    const CASES: [(f64, f64, f64); 4] = [(1.0, 1.0, 0.0), (7.0, 3.5, 0.0), (1000.0, 1.0, 0.0), (3.0, 2.0, 1.0)];

    /// Compares `update` with the twin on `device`, in every case, with gradients of `kind`.
    fn assert_is_twin(
        (device, kind): (Device, Kind),
        update: impl Fn(Rounding, &AdamWSlice, &AdamWScalars<'_>) -> Result<(), TchError>,
    ) {
        let cases = CASES.into_iter().flat_map(|case| ROUNDINGS.map(|rounding| (case, rounding)));
        for ((step, grad_scale, skip), rounding) in cases {
            let scalars = [step, grad_scale, skip].map(|x: f64| Tensor::from(x as f32).to_device(device));
            let scalars = AdamWScalars { step: &scalars[0], grad_scale: &scalars[1], skip: &scalars[2] };
            let before = slices(device, kind);
            let [ours, theirs] = [(); 2].map(|()| copies(&before, rounding, step - 1.0));
            ours.iter().for_each(|slice| update(rounding, slice, &scalars).unwrap());
            theirs.iter().for_each(|slice| twin(&CONSTANTS, rounding, slice, &scalars).unwrap());
            for ((a, b), old) in ours.iter().zip(&theirs).zip(&before) {
                let (a, b, old) = (&a.whole, &b.whole, &old.whole);
                for (a, b) in [(&a.parameters, &b.parameters), (&a.exp_avg, &b.exp_avg), (&a.exp_avg_sq, &b.exp_avg_sq)]
                {
                    let largest = b.abs().max().double_value(&[]);
                    let error = (a - b).abs().max().double_value(&[]) / largest;
                    assert!(error < 1e-6, "step {step}: off by {error:e}");
                }
                assert_eq!(a.parameters == old.parameters, skip == 1.0);
                let (Some(rounded), Some(theirs)) = (&a.rounded, &b.rounded) else { continue };
                let expected = rounded.empty_like();
                let update = Tensor::from((step - skip) as f32).to_device(device);
                rounding.round(&a.parameters, &expected, a.first, &update).unwrap();
                assert_eq!(*rounded, expected, "step {step}: rounded otherwise");
                // The weights differ by rounding errors of float32, and so may the rounded ones.
                assert_close(rounded, theirs, 8e-3);
            }
        }
    }

    #[test]
    fn the_kernel_is_its_twin() {
        let update = |rounding: Rounding, slice: &AdamWSlice, scalars: &AdamWScalars<'_>| {
            adamw(&CONSTANTS, rounding, slice, scalars)
        };
        assert_is_twin((Device::Cpu, Kind::Float), update);
    }

    #[test]
    fn the_kernel_for_gpus_leaves_what_is_no_parameter() {
        for (gpu, device) in places() {
            let all = |value: f64| Tensor::full([100], value, (Kind::Float, device));
            let (parameters, one, zero) = (all(1.0), all(1.0).select(0, 0), all(0.0).select(0, 0));
            let range = AdamWRange {
                parameters: parameters.shallow_clone(),
                gradients: all(1.0),
                exp_avg: all(0.0),
                exp_avg_sq: all(0.0),
                rounded: None,
                first: 0,
            };
            let scalars = AdamWScalars { step: &one, grad_scale: &one, skip: &zero };
            let slice = AdamWSlice::new(&range, &[(50, true), (43, false)]);
            on_gpu::adamw(gpu, &CONSTANTS, Rounding::Nearest, &slice, &scalars).unwrap();
            assert_eq!(parameters.lt(1.0).sum(Kind::Int64).int64_value(&[]), 93);
            assert_eq!(parameters.narrow(0, 93, 7), all(1.0).narrow(0, 93, 7));
        }
    }

    #[test]
    fn the_kernel_for_gpus_is_its_twin() {
        for (gpu, device) in places() {
            let update = |rounding: Rounding, slice: &AdamWSlice, scalars: &AdamWScalars<'_>| {
                on_gpu::adamw(gpu, &CONSTANTS, rounding, slice, scalars)
            };
            assert_is_twin((device, Kind::Float), update);
            assert_is_twin((device, Kind::BFloat16), update);
        }
    }
}
