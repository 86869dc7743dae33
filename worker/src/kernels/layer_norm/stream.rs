//! The residual stream as LayerNorm takes it and leaves it, and its gradients.

use tch::Tensor;

use crate::kernels::row_gradient::RowGradient;

/// What is added to the residual stream.
pub struct Branch {
    /// `[N, C]`
    pub rows: Tensor,
    /// A bias `[C]` that is still to be added to each of them.
    pub bias: Option<Tensor>,
}

/// Rows `[N, C]` and their normalised form.
pub struct Normalised {
    /// The stream with the branch, `[N, C]`.
    pub x: Tensor,
    /// Its normalised form, `[N, C]`.
    pub y: Tensor,
    /// Of each row, `[N, 1]`.
    pub mean: Tensor,
    /// One over each row's deviation, `[N, 1]`.
    pub rstd: Tensor,
}

/// The gradients of a LayerNorm.
pub struct LayerNormGradient {
    /// Of its input, `[N, C]`.
    pub x: RowGradient,
    /// Of its weight, `[C]`.
    pub weight: Tensor,
    /// Of its bias, `[C]`.
    pub bias: Tensor,
}
