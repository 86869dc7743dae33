//! Cross-entropy and its gradient, in place over the logits, which are read and written once.
//!
//! For a row of logits x with the target t, over the columns of the vocabulary:
//!
//! ```text
//! loss = log(sum of e^x_j over all j) - x_t
//! gradient of scale * loss by x_j = scale (e^x_j / sum of e^x_k over all k - [j = t])
//! ```
//!
//! Sources: `worker/kernels/cross_entropy.cu`, and `convoy_cpu_cross_entropy` in `worker/libtorch/cpu_kernels.cpp`.

pub(super) mod on_gpu;

use tch::{Device, Kind, TchError, Tensor};

use super::cpu::{floats, functions, suits_cpu_kernel};
use super::cuda;
use super::cuda::arguments::is_aligned_rows;

/// [`cross_entropy`] by libtorch's operations.
pub fn twin(logits: &Tensor, targets: &Tensor, vocabulary: i64, scale: f64) -> (Tensor, Tensor) {
    let wide = if logits.kind() == Kind::Double { Kind::Double } else { Kind::Float };
    let padding = logits.size()[1] - vocabulary;
    let _ = logits.narrow(1, vocabulary, padding).fill_(f64::NEG_INFINITY);
    let mut log_probabilities = logits.log_softmax(-1, wide); // [N, V padded]
    let targets = targets.unsqueeze(1); // [N, 1]
    let losses = -log_probabilities.gather(1, &targets, false).squeeze_dim(1).to_kind(Kind::Double);
    // d loss / d logits = softmax - one-hot.
    let mut gradient = log_probabilities.exp_();
    let minus_one = targets.new_full(targets.size(), -1.0, (wide, targets.device()));
    let _ = gradient.scatter_add_(1, &targets, &minus_one);
    let _ = gradient.g_mul_scalar_(scale);
    (losses, gradient.to_kind(logits.kind()))
}

/// Returns the cross-entropies `[N]` of `logits [N, V padded]` against `targets [N]`, in nats, float64. Also returns
/// the gradient of `scale` times their sum `[N, V padded]`, in the logits' kind, and possibly in their memory.
///
/// Only the first `vocabulary` columns count; the gradient of the others is 0. A target outside of them makes its row
/// NaN, or is refused by libtorch.
pub fn cross_entropy(
    logits: Tensor,
    targets: &Tensor,
    vocabulary: i64,
    scale: f64,
) -> Result<(Tensor, Tensor), TchError> {
    if let Some(gpu) = cuda::of(&logits).filter(|_| is_aligned_rows(&logits)) {
        let losses = on_gpu::cross_entropy(gpu, &logits, targets, vocabulary, scale)?;
        return Ok((losses, logits));
    }
    if !suits_cpu_kernel(&logits) {
        return Ok(twin(&logits, targets, vocabulary, scale));
    }
    let (rows, stride) = (logits.size()[0], logits.size()[1]);
    let targets = targets.contiguous();
    let losses = Tensor::empty([rows], (Kind::Double, logits.device()));
    assert!(targets.kind() == Kind::Int64 && targets.size() == [rows] && vocabulary <= stride, "shapes do not fit");
    // SAFETY: contiguous tensors of these kinds and sizes; the kernel checks every target before it uses it as an
    // index.
    unsafe {
        functions::convoy_cpu_cross_entropy(
            floats(&logits),
            targets.data_ptr().cast(),
            losses.data_ptr().cast(),
            rows,
            stride,
            vocabulary,
            scale,
        );
    }
    Ok((losses, logits))
}

/// Returns whether logits of `kind` on `device`, as the model has them, are worked on in place.
pub fn is_in_place(device: Device, kind: Kind) -> bool {
    match device {
        Device::Cpu => kind == Kind::Float,
        _ => cuda::are_on(device) && matches!(kind, Kind::Float | Kind::BFloat16),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cuda::launch::Launch;
    use crate::kernels::places::places;
    use crate::libtorch::random::Random;

    #[test]
    fn the_kernel_is_its_twin() {
        let random = Random::seeded(5);
        for (rows, vocabulary, stride) in [(1, 1, 64), (3, 50, 64), (33, 1000, 1024), (7, 50_257, 50_304)] {
            for spread in [0.1, 3.0, 60.0] {
                let logits = random.normal(&[rows, stride], (Kind::Float, Device::Cpu)) * spread;
                let targets = random.integers(0, vocabulary, &[rows], (Kind::Int64, Device::Cpu));
                let wide = logits.to_kind(Kind::Double);
                let (expected_losses, expected) = twin(&wide, &targets, vocabulary, 0.125);
                let (losses, gradient) = cross_entropy(logits, &targets, vocabulary, 0.125).unwrap();
                let difference = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
                let largest = expected_losses.abs().max().double_value(&[]).max(1.0);
                let loss_error = difference(&losses, &expected_losses) / largest;
                assert!(loss_error < 1e-6, "{rows} x {vocabulary}, spread {spread}: loss off by {loss_error:e}");
                let error = difference(&gradient.to_kind(Kind::Double), &expected);
                assert!(error < 3e-8, "{rows} x {vocabulary}, spread {spread}: gradient off by {error:e}");
                let padding = gradient.narrow(1, vocabulary, stride - vocabulary);
                assert_eq!(padding.abs().sum(Kind::Float).double_value(&[]), 0.0);
            }
        }
    }

    #[test]
    fn the_kernel_for_gpus_is_its_twin() {
        let random = Random::seeded(6);
        for (gpu, device) in places() {
            for kind in [Kind::Float, Kind::BFloat16] {
                for (rows, vocabulary, stride) in
                    [(1, 1, 64), (3, 50, 64), (3, 64, 64), (5, 4099, 4160), (2, 50_257, 50_304)]
                {
                    for spread in [0.1, 3.0, 60.0] {
                        let logits = random.normal(&[rows, stride], (Kind::Float, device)) * spread;
                        let targets = random.integers(0, vocabulary, &[rows], (Kind::Int64, device));
                        assert_is_twin(gpu, &logits.to_kind(kind), &targets, vocabulary);
                    }
                }
                for bad in [f64::NAN, f64::INFINITY] {
                    let logits = Tensor::zeros([2, 64], (kind, device));
                    let _ = logits.narrow(0, 1, 1).narrow(1, 7, 1).fill_(bad);
                    let targets = Tensor::from_slice(&[3_i64, 3]).to_device(device);
                    let losses = on_gpu::cross_entropy(gpu, &logits, &targets, 60, 1.0).unwrap();
                    let losses = Vec::<f64>::try_from(losses).unwrap();
                    assert!((losses[0] - 60.0_f64.ln()).abs() < 1e-6 && !losses[1].is_finite(), "{losses:?}");
                }
            }
        }
    }

    /// Compares the kernel for GPUs, which works in place on `logits [N, V padded]`, with the twin in float64.
    fn assert_is_twin(gpu: &dyn Launch, logits: &Tensor, targets: &Tensor, vocabulary: i64) {
        let what = format!("{logits:?}, {vocabulary} columns");
        let (expected_losses, expected) = twin(&logits.to_kind(Kind::Double), targets, vocabulary, 0.125);
        let losses = on_gpu::cross_entropy(gpu, logits, targets, vocabulary, 0.125).unwrap();
        let largest = expected_losses.abs().max().double_value(&[]).max(1.0);
        let error = (losses - &expected_losses).abs().max().double_value(&[]) / largest;
        assert!(error < 1e-6, "{what}: loss off by {error:e}");
        // Half a step of the logits' kind, and float32's own errors.
        let step = if logits.kind() == Kind::Float { 0.0 } else { 0.5_f64.powi(8) };
        let excess = (logits.to_kind(Kind::Double) - &expected).abs() - (expected.abs() * step + 1e-7);
        let excess = excess.max().double_value(&[]);
        assert!(excess <= 0.0, "{what}: gradient off by {excess:e} more than allowed");
        let padding = logits.narrow(1, vocabulary, logits.size()[1] - vocabulary);
        assert_eq!(padding.abs().sum(Kind::Float).double_value(&[]), 0.0, "{what}");
    }

    /// Other rows are as they would be without this target, and no memory around them is written.
    #[test]
    fn a_target_outside_of_the_vocabulary_is_not_a_place_to_write_to() {
        for target in [60, 63, 64, 65_535, -1, i64::MIN, i64::MAX] {
            let around = Tensor::ones([3, 64], (Kind::Float, Device::Cpu));
            let targets = Tensor::from_slice(&[3, target]);
            let (losses, _) = cross_entropy(around.narrow(0, 0, 2), &targets, 60, 1.0).unwrap();
            assert_only_the_second_is_nan(&losses, &around.narrow(0, 0, 2));
            let untouched = Vec::<f32>::try_from(around.select(0, 2)).unwrap();
            assert!(untouched.iter().all(|x| *x == 1.0), "{target}: {untouched:?}");
            for (gpu, device) in places() {
                let logits = Tensor::ones([2, 64], (Kind::Float, device));
                let losses = on_gpu::cross_entropy(gpu, &logits, &targets.to_device(device), 60, 1.0).unwrap();
                assert_only_the_second_is_nan(&losses, &logits);
            }
        }
    }

    fn assert_only_the_second_is_nan(losses: &Tensor, gradient: &Tensor) {
        let losses = Vec::<f64>::try_from(losses).unwrap();
        assert!((losses[0] - 60.0_f64.ln()).abs() < 1e-6 && losses[1].is_nan(), "{losses:?}");
        let is_nan: Vec<bool> = Vec::try_from(gradient.isnan().narrow(1, 0, 60).reshape([-1])).unwrap();
        assert!(is_nan[..60].iter().all(|nan| !nan) && is_nan[60..].iter().all(|nan| *nan));
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        for bad in [f64::NAN, f64::INFINITY] {
            let logits = Tensor::zeros([2, 64], (Kind::Float, Device::Cpu));
            let _ = logits.narrow(0, 1, 1).narrow(1, 7, 1).fill_(bad);
            let (losses, _) = cross_entropy(logits, &Tensor::from_slice(&[3_i64, 3]), 60, 1.0).unwrap();
            let losses = Vec::<f64>::try_from(losses).unwrap();
            assert!((losses[0] - 60.0_f64.ln()).abs() < 1e-6 && !losses[1].is_finite(), "{losses:?}");
        }
    }
}
