//! What is passed along through all parts of a pass backward.
//!
//! Legend: B batch, T sequence, N = B T rows, C width, H heads, D = C / H head size, L layers, V vocabulary.

use super::ops::WeightGradient;
use crate::kernels::attention::Shape;

/// One pass backward: what its rows are, and how it treats gradients of weights.
pub(super) struct Backward {
    /// B, T and H of the micro batch.
    pub shape: Shape,
    /// Whether gradients of weights are added to what is there; false in the first micro batch of a step, which saves zeroing them.
    pub accumulate: bool,
    /// Where the products are collected that are to be computed later; `None` computes each at once.
    pub later: Option<Vec<WeightGradient>>,
}
