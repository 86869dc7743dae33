//! Operations on a product before it is stored, and their names in cuBLASLt.

use std::ffi::c_int;

use tch::Tensor;

/// Operation on a product before it is stored.
#[derive(Clone, Copy)]
pub enum Then<'a> {
    /// Stores the product as it is.
    Store,
    /// Adds this `[N]` to each row.
    AddRow(&'a Tensor),
    /// Adds the row, stores the sum in `before [M, N]`, and applies GELU.
    AddRowAndGelu {
        /// Row to add, `[N]`.
        row: &'a Tensor,
        /// Destination of the sum, `[M, N]`.
        before: &'a Tensor,
    },
    /// Multiplies the product by GELU's derivative at these values, `[M, N]`.
    TimesGeluDerivative(&'a Tensor),
}

/// Parts of `cublasLtEpilogue_t`: nothing; a row is added; a tensor is beside the result; GELU, and its derivative.
const STORE: c_int = 1;
pub const ROW: c_int = 4;
pub const BESIDE: c_int = 128;
const GELU: c_int = 32;
const GELU_DERIVATIVE: c_int = 64;

impl Then<'_> {
    /// Returns the `cublasLtEpilogue_t`.
    pub fn epilogue(&self) -> c_int {
        match self {
            Then::Store => STORE,
            Then::AddRow(_) => ROW,
            Then::AddRowAndGelu { .. } => GELU | BESIDE | ROW,
            Then::TimesGeluDerivative(_) => GELU_DERIVATIVE | BESIDE,
        }
    }

    /// Returns the row that is added to each row, `[N]`.
    pub fn row(&self) -> Option<&Tensor> {
        match self {
            Then::AddRow(row) | Then::AddRowAndGelu { row, .. } => Some(row),
            Then::Store | Then::TimesGeluDerivative(_) => None,
        }
    }

    /// Returns the tensor that is written or read beside the result, `[M, N]`.
    pub fn beside(&self) -> Option<&Tensor> {
        match self {
            Then::AddRowAndGelu { before: beside, .. } | Then::TimesGeluDerivative(beside) => Some(beside),
            Then::Store | Then::AddRow(_) => None,
        }
    }
}
