//! The sum of the squares of flat gradients, in float64 and always in the same order.

use tch::{Kind, Tensor};

use super::{ffi, floats, suits_cpu_kernel};

/// Elements whose squares are summed on their own, so that the result does not depend on the number of threads.
const PART: i64 = 1 << 16;

/// The sum of the squares of `x` [n]: a float64 scalar.
pub fn sum_of_squares(x: &Tensor) -> Tensor {
    if !suits_cpu_kernel(x) {
        return twin(x);
    }
    let n = x.numel() as i64;
    let sums = Tensor::empty([(n + PART - 1) / PART], (Kind::Double, x.device()));
    // SAFETY: n contiguous float32 elements, and one float64 for each part of them.
    unsafe { ffi::convoy_cpu_sums_of_squares(floats(x), n, PART, sums.data_ptr().cast()) };
    sums.sum(Kind::Double)
}

/// The same by libtorch's operations.
pub fn twin(x: &Tensor) -> Tensor {
    let whole = x.numel() as i64 / PART * PART;
    let rows = x.narrow(0, 0, whole).view([-1, PART]);
    let rest = x.narrow(0, whole, x.numel() as i64 - whole);
    // Norms of short rows in float32, and their squares in float64.
    let wide = if x.kind() == Kind::Double { Kind::Double } else { Kind::Float };
    let squares = |t: &Tensor| {
        t.norm_scalaropt_dim_dtype(2, [-1].as_slice(), false, wide).to_kind(Kind::Double).square().sum(Kind::Double)
    };
    squares(&rows) + squares(&rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn the_kernel_its_twin_and_float64_agree() {
        tch::manual_seed(2);
        for n in [1, 1000, PART, 3 * PART + 17] {
            let x = Tensor::randn([n], (Kind::Float, Device::Cpu)) * 1e-3;
            let exact = x.to_kind(Kind::Double).square().sum(Kind::Double).double_value(&[]);
            for got in [sum_of_squares(&x), twin(&x)] {
                let error = (got.double_value(&[]) - exact).abs() / exact;
                assert!(error < 1e-6, "{n} elements: off by {error:e}");
            }
        }
        let threads = tch::get_num_threads();
        let x = Tensor::randn([1_000_003], (Kind::Float, Device::Cpu));
        let many = sum_of_squares(&x).double_value(&[]);
        tch::set_num_threads(1);
        let one = sum_of_squares(&x).double_value(&[]);
        tch::set_num_threads(threads);
        assert_eq!(many, one);
    }
}
