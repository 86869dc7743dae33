//! The sum of the squares of flat gradients, in parts that are added up in float64, always in one order.
//!
//! Sources: `worker/kernels/norm.cu`, and `convoy_cpu_sums_of_squares` in `worker/libtorch/cpu_kernels.cpp`.

pub(super) mod on_gpu;

use tch::{Device, Kind, TchError, Tensor};

use super::cpu::{floats, functions, suits_cpu_kernel};
use super::cuda;

/// Number of elements whose squares are summed separately, so that the result is independent of the number of
/// threads.
const PART: i64 = 1 << 16;

/// Returns the sum of the squares of `x`, flat, by libtorch's operations.
pub fn twin(x: &Tensor) -> Tensor {
    let whole = x.numel() as i64 / PART * PART;
    let rows = x.narrow(0, 0, whole).view([-1, PART]);
    let rest = x.narrow(0, whole, x.numel() as i64 - whole);
    // Norms of short rows are computed in float32, and their squares in float64.
    let wide = if x.kind() == Kind::Double { Kind::Double } else { Kind::Float };
    let squares = |t: &Tensor| {
        t.norm_scalaropt_dim_dtype(2, [-1].as_slice(), false, wide).to_kind(Kind::Double).square().sum(Kind::Double)
    };
    squares(&rows) + squares(&rest)
}

/// Returns the sum of the squares of all `parts`, flat tensors, at least one: a float64 scalar.
pub fn sum_of_squares(parts: &[Tensor]) -> Result<Tensor, TchError> {
    match parts.first().and_then(cuda::of) {
        Some(gpu) => on_gpu::sum_of_squares(gpu, parts),
        None => Ok(parts.iter().map(elsewhere).reduce(|sum, part| sum + part).unwrap_or_else(zero)),
    }
}

fn zero() -> Tensor {
    Tensor::zeros([], (Kind::Double, Device::Cpu))
}

fn elsewhere(x: &Tensor) -> Tensor {
    if !suits_cpu_kernel(x) {
        return twin(x);
    }
    let n = x.numel() as i64;
    let sums = Tensor::empty([(n + PART - 1) / PART], (Kind::Double, x.device()));
    // SAFETY: n contiguous float32 elements, and one float64 for each part of them.
    unsafe { functions::convoy_cpu_sums_of_squares(floats(x), n, PART, sums.data_ptr().cast()) };
    sums.sum(Kind::Double)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::places::places;
    use crate::libtorch::random::Random;

    fn exact(x: &Tensor) -> f64 {
        x.to_kind(Kind::Double).square().sum(Kind::Double).double_value(&[])
    }

    fn assert_is(expected: f64, got: &Tensor) {
        let error = (got.double_value(&[]) - expected).abs() / expected;
        assert!(error < 1e-6, "off by {error:e}");
    }

    #[test]
    fn the_kernel_its_twin_and_float64_agree() {
        let random = Random::seeded(2);
        for n in [1, 1000, PART, 3 * PART + 17] {
            let x = random.normal(&[n], (Kind::Float, Device::Cpu)) * 1e-3;
            assert_is(exact(&x), &elsewhere(&x));
            assert_is(exact(&x), &twin(&x));
        }
        let threads = tch::get_num_threads();
        let x = random.normal(&[1_000_003], (Kind::Float, Device::Cpu));
        let many = elsewhere(&x).double_value(&[]);
        tch::set_num_threads(1);
        let one = elsewhere(&x).double_value(&[]);
        tch::set_num_threads(threads);
        assert_eq!(many, one);
    }

    #[test]
    fn the_kernel_for_gpus_agrees_with_float64() {
        for (gpu, device) in places() {
            for kind in [Kind::Float, Kind::BFloat16] {
                let random = Random::seeded(3);
                let draw = |n: i64| random.normal(&[n], (Kind::Float, device)).to_kind(kind);
                // One tensor begins at an unaligned element.
                let parts = [draw(1), draw(1000), draw(40_003).narrow(0, 1, 40_002), draw(3 * on_gpu::BLOCK_ELEMENTS)];
                assert_is(parts.iter().map(exact).sum(), &on_gpu::sum_of_squares(gpu, &parts).unwrap());
            }
        }
    }
}
