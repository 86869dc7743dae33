//! Matrix products, alone or combined with an operation before or after them.
//!
//! - `on_gpu`: cuBLASLt multiplies bfloat16; libtorch multiplies other kinds.
//! - `on_cpu`: float32 and float64, in panels or tiles; on some processors libtorch's MKL.
//!
//! Repeating a product gives identical bits on a CPU with an unchanged number of threads, and on a GPU with
//! `train.deterministic`.

mod on_cpu;
pub(super) mod on_gpu;

use tch::{TchError, Tensor};

use crate::kernels::gelu::{gelu, gelu_backward};
use crate::kernels::row_gradient::RowGradient;
use crate::libtorch;
use on_cpu::{Onto, is_here};
use on_gpu::{Then, multiply};

/// Returns `a [M, K]` times `b [K, N]`.
pub fn product(a: &Tensor, b: &Tensor) -> Tensor {
    make(a, b, Onto::Zero, Then::Store).unwrap_or_else(|| a.mm(b))
}

/// Returns `a [M, K]` times `b [K, N]` with `row [N]` added to each row.
pub fn product_plus_row(a: &Tensor, b: &Tensor, row: &Tensor) -> Tensor {
    make(a, b, Onto::Row(row), Then::AddRow(row)).unwrap_or_else(|| row.addmm(a, b))
}

/// Returns `a [M, K]` times `b [K, N]` with `row [N]` added to each row, and GELU of the result.
pub fn product_plus_row_and_gelu(a: &Tensor, b: &Tensor, row: &Tensor) -> (Tensor, Tensor) {
    if a.device().is_cuda() {
        let [before, after] = [(); 2].map(|()| empty(a, b));
        if multiply(&after, a, b, false, Then::AddRowAndGelu { row, before: &before }) {
            return (before, after);
        }
    }
    let before = product_plus_row(a, b, row);
    let after = gelu(&before);
    (before, after)
}

/// Returns the gradient of GELU's input `x [M, N]`, given the gradient of its output: `a [M, K]` times `b [K, N]`.
pub fn product_through_gelu(a: &Tensor, b: &Tensor, x: &Tensor) -> Result<RowGradient, TchError> {
    if a.device().is_cuda() {
        let rows = empty(a, b);
        if multiply(&rows, a, b, false, Then::TimesGeluDerivative(x)) {
            return Ok(rows.into());
        }
    }
    gelu_backward(x, &product(a, b))
}

/// Sets `out [M, N]` to `a [M, K]` times `b [K, N]`, added to its present values if `accumulate`. On CUDA `out` may
/// be of a wider kind than `a` and `b`, and the product is then computed and summed in that kind. On a CPU it panics
/// if kinds or shapes do not fit.
pub fn add_product(out: &Tensor, a: &Tensor, b: &Tensor, accumulate: bool) -> Result<(), TchError> {
    if is_here(a) {
        on_cpu::multiply(out, a, b, if accumulate { Onto::Present } else { Onto::Zero });
        return Ok(());
    }
    match multiply(out, a, b, accumulate, Then::Store) {
        true => Ok(()),
        false => libtorch::add_product(out, a, b, accumulate),
    }
}

/// Returns an uninitialised tensor for `a [M, K]` times `b [K, N]`.
fn empty(a: &Tensor, b: &Tensor) -> Tensor {
    Tensor::empty([a.size()[0], b.size()[1]], (a.kind(), a.device()))
}

/// Returns `a` times `b`: on a CPU onto `onto`, on a GPU followed by `then`, which must be equivalent. `None` if the
/// product is left to libtorch.
fn make(a: &Tensor, b: &Tensor, onto: Onto<&Tensor>, then: Then) -> Option<Tensor> {
    if is_here(a) {
        let out = empty(a, b);
        on_cpu::multiply(&out, a, b, onto);
        return Some(out);
    }
    if !a.device().is_cuda() {
        return None;
    }
    let out = empty(a, b);
    multiply(&out, a, b, false, then).then_some(out)
}
