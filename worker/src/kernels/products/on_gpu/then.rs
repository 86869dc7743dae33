//! What becomes of a product before it is stored, and how cuBLASLt calls it.

use std::ffi::c_int;

use tch::Tensor;

/// What becomes of a product before it is stored.
#[derive(Clone, Copy)]
pub enum Then<'a> {
    /// Nothing.
    Store,
    /// This `[N]` is added to each row.
    AddRow(&'a Tensor),
    /// The row is added, what then is there is stored in `before [M, N]`, and GELU applied.
    AddRowAndGelu {
        /// `[N]`
        row: &'a Tensor,
        /// `[M, N]`
        before: &'a Tensor,
    },
    /// It is multiplied with GELU's derivative at these places `[M, N]`.
    TimesGeluDerivative(&'a Tensor),
}

/// Parts of `cublasLtEpilogue_t`: nothing; a row is added; there is something beside the result; GELU, and its derivative.
const STORE: c_int = 1;
pub const ROW: c_int = 4;
pub const BESIDE: c_int = 128;
const GELU: c_int = 32;
const GELU_DERIVATIVE: c_int = 64;

impl Then<'_> {
    /// `cublasLtEpilogue_t`.
    pub fn epilogue(&self) -> c_int {
        match self {
            Then::Store => STORE,
            Then::AddRow(_) => ROW,
            Then::AddRowAndGelu { .. } => GELU | BESIDE | ROW,
            Then::TimesGeluDerivative(_) => GELU_DERIVATIVE | BESIDE,
        }
    }

    /// What is added to each row, `[N]`.
    pub fn row(&self) -> Option<&Tensor> {
        match self {
            Then::AddRow(row) | Then::AddRowAndGelu { row, .. } => Some(row),
            Then::Store | Then::TimesGeluDerivative(_) => None,
        }
    }

    /// What is written or read beside the result, `[M, N]`.
    pub fn beside(&self) -> Option<&Tensor> {
        match self {
            Then::AddRowAndGelu { before: beside, .. } | Then::TimesGeluDerivative(beside) => Some(beside),
            Then::Store | Then::AddRow(_) => None,
        }
    }
}
