//! The residual stream before and after a LayerNorm, and its gradients.

use tch::Tensor;

use crate::kernels::row_gradient::RowGradient;

/// A branch, which is added to the residual stream.
pub struct Branch {
    /// Rows, `[N, C]`.
    pub rows: Tensor,
    /// Bias `[C]` that is still to be added to each row, if any.
    pub bias: Option<Tensor>,
}

/// Rows `[N, C]` and their normalised form.
pub struct Normalised {
    /// Sum of the stream and the branch, `[N, C]`.
    pub x: Tensor,
    /// Normalised form of the sum, `[N, C]`.
    pub y: Tensor,
    /// Mean of each row, `[N, 1]`.
    pub mean: Tensor,
    /// Reciprocal of each row's standard deviation, `[N, 1]`.
    pub rstd: Tensor,
}

/// The gradients of a LayerNorm.
pub struct LayerNormGradient {
    /// Gradient of the input, `[N, C]`.
    pub x: RowGradient,
    /// Gradient of the weight, `[C]`.
    pub weight: Tensor,
    /// Gradient of the bias, `[C]`.
    pub bias: Tensor,
}
