//! GELU (Hendrycks and Gimpel, 2016) and its backward, where no product includes them ([`super::products`]).
//!
//! ```text
//! GELU(x) = x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
//! ```
//!
//! Source: `convoy_cpu_gelu` in `worker/libtorch/cpu_kernels.cpp`; on a GPU, libtorch's operation.

use tch::{TchError, Tensor};

use super::cpu::{floats, functions, suits_cpu_kernel};
use super::operand::operand;
use super::row_gradient::RowGradient;

/// Name of GPT-2's GELU in libtorch: the tanh approximation (Hendrycks and Gimpel, 2016).
const GELU: &str = "tanh";

/// Returns GELU of `x`.
pub fn gelu(x: &Tensor) -> Tensor {
    if !suits_cpu_kernel(x) {
        return gelu_twin(x);
    }
    let y = x.empty_like();
    // SAFETY: contiguous float32 tensors of one size.
    unsafe { functions::convoy_cpu_gelu(floats(x), floats(&y), x.numel() as i64) };
    y
}

/// [`gelu`] by libtorch's operation.
pub fn gelu_twin(x: &Tensor) -> Tensor {
    operand(x).gelu(GELU).to_kind(x.kind())
}

/// Returns the gradient of GELU's input `x [N, C]`, given the gradient of its output.
pub fn gelu_backward(x: &Tensor, dy: &Tensor) -> Result<RowGradient, TchError> {
    if suits_cpu_kernel(x) && suits_cpu_kernel(dy) {
        assert!(x.size() == dy.size(), "shapes do not fit");
        let dx = x.empty_like();
        // SAFETY: contiguous float32 tensors of one size.
        unsafe { functions::convoy_cpu_gelu_backward(floats(x), floats(dy), floats(&dx), x.numel() as i64) };
        return Ok(dx.into());
    }
    gelu_backward_twin(x, dy)
}

/// [`gelu_backward`] by libtorch's operations.
pub fn gelu_backward_twin(x: &Tensor, dy: &Tensor) -> Result<RowGradient, TchError> {
    Ok(operand(x).f_gelu_backward(&operand(dy), GELU)?.to_kind(x.kind()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libtorch::random::Random;
    use tch::{Device, Kind};

    #[test]
    fn the_kernels_are_their_twins() {
        let float = (Kind::Float, Device::Cpu);
        let far = Tensor::from_slice(&[-1e10_f32, -100.0, -0.0, 0.0, 100.0, 1e10, f32::INFINITY, f32::NAN]);
        let x = Tensor::cat(&[Tensor::linspace(-12, 12, 100_000, float), far], 0);
        let dy = Random::seeded(1).normal(&x.size(), float);
        let [wide, wide_dy] = [&x, &dy].map(|x| x.to_kind(Kind::Double));
        let close = |ours: &Tensor, twin: &Tensor| ours.to_kind(Kind::Double).allclose(twin, 1e-6, 1e-6, true);
        assert!(close(&gelu(&x), &gelu_twin(&wide)));
        let gradient = gelu_backward(&x, &dy).unwrap().rows;
        let finite = x.isfinite();
        let twin = gelu_backward_twin(&wide, &wide_dy).unwrap().rows;
        assert!(close(&gradient.masked_select(&finite), &twin.masked_select(&finite)));
        assert!(gradient.get(gradient.size()[0] - 1).isnan().int64_value(&[]) == 1, "a NaN must not be hidden");
    }
}
