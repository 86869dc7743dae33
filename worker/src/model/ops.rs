//! Operations that the layers are made of, in every precision and on every device. [`crate::kernels`] has those that
//! are Convoy's own kernels on some device.
//!
//! Weights and activations are of one kind, float32 (float64 in tests) or bfloat16; gradients of weights may be of a
//! wider one. On a CPU, bfloat16 means that operands and results are rounded, and that everything in between is
//! float32: products of bfloat16 are many times slower there, and the kind is for tests.
//!
//! Legend: B batch, T sequence, N = B T rows, C width, H heads, D = C / H head size, L layers, V vocabulary.
//! A linear layer has in and out columns; M, K and N are the sizes of any product.

use tch::{TchError, Tensor};

use crate::kernels::columns::column_sums;
use crate::kernels::gelu::{gelu, gelu_backward};
use crate::kernels::products::{self, product, product_plus_row, product_plus_row_and_gelu, product_through_gelu};
use crate::kernels::{RowGradient, is_only_stored, operand};

/// Returns `x [N, in]` times `weight [in, out]` plus `bias [out]`.
pub(super) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    product_plus_row(&operand(x), &operand(weight), &operand(bias)).to_kind(x.kind()) // [N, out]
}

/// Returns `x [N, in]` times `weight [in, out]` plus `bias [out]`, and GELU of the result, both `[N, out]`.
pub(super) fn linear_and_gelu(x: &Tensor, weight: &Tensor, bias: &Tensor) -> (Tensor, Tensor) {
    if is_only_stored(x) {
        // The value that is kept is rounded, and GELU is of the rounded value.
        let before = linear(x, weight, bias); // [N, out]
        let after = gelu(&before); // [N, out]
        return (before, after);
    }
    product_plus_row_and_gelu(x, weight, bias) // [N, out] both
}

/// Returns the gradient of GELU's input `x [N, in]`, given the gradient `dy [N, out]` of a layer's output. The layer
/// takes GELU's output and has `weight [in, out]`.
pub(super) fn linear_and_gelu_backward(dy: &Tensor, weight: &Tensor, x: &Tensor) -> Result<RowGradient, TchError> {
    if is_only_stored(x) {
        return gelu_backward(x, &product_with_transpose(dy, weight)); // [N, in]
    }
    product_through_gelu(dy, &weight.tr(), x) // [N, in]
}

/// Returns `x [N, in]` times the transpose of `weight [out, in]`: the gradient of a linear layer's input, given the
/// gradient of its output.
pub(super) fn product_with_transpose(x: &Tensor, weight: &Tensor) -> Tensor {
    product(&operand(x), &operand(weight).tr()).to_kind(x.kind()) // [N, out]
}

/// Weight gradients of one linear layer, ready to be computed.
pub(super) struct WeightGradient {
    /// Input of the layer, `[N, in]`.
    pub x: Tensor,
    /// Gradient of the layer's output, `[N, out]`.
    pub dy: RowGradient,
    /// Destination of the weight's gradient, `[in, out]`.
    pub dweight: Tensor,
    /// Destination of the bias's gradient, `[out]`.
    pub dbias: Tensor,
    /// Whether the gradients are added to the present ones.
    pub accumulate: bool,
}

impl WeightGradient {
    /// Computes both gradients.
    pub fn compute(self) -> Result<(), TchError> {
        let RowGradient { rows, sum } = &self.dy; // [N, out], [out]
        add_product(&self.dweight, &self.x.tr(), rows, self.accumulate)?; // [in, out], [in, N], [N, out]
        let sum = sum.as_ref().map_or_else(|| column_sums(rows), |sum| Ok(sum.shallow_clone()))?; // [out]
        add(&self.dbias, &sum, self.accumulate); // [out]
        Ok(())
    }
}

/// Sets `out [M, N]` to `a [M, K]` times `b [K, N]`, added to its present values if `accumulate`; `out` may be of a
/// wider kind.
pub(super) fn add_product(out: &Tensor, a: &Tensor, b: &Tensor, accumulate: bool) -> Result<(), TchError> {
    let (a, b) = (operand(a), operand(b)); // [M, K], [K, N]
    match is_only_stored(out) {
        true => add(out, &product(&a, &b), accumulate),           // [M, N]
        false => products::add_product(out, &a, &b, accumulate)?, // [M, N]
    }
    Ok(())
}

/// Sets `out` to `x`, of equal shape, added to its present values if `accumulate`.
pub(super) fn add(out: &Tensor, x: &Tensor, accumulate: bool) {
    let mut out = out.shallow_clone();
    match accumulate {
        true => _ = out.g_add_(&x.to_kind(out.kind())),
        false => out.copy_(x),
    }
}
