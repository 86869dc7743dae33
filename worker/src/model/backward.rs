//! Context that is passed to every part during backward.
//!
//! Legend: B batch, T sequence, N = B T rows, C width, H heads, D = C / H head size, L layers, V vocabulary.

use super::ops::WeightGradient;
use crate::kernels::attention::Shape;

/// Context of one backward pass.
pub(super) struct Backward {
    /// B, T and H of the micro batch.
    pub shape: Shape,
    /// Whether gradients of weights are added to the present ones. False in the first micro batch of a step, which
    /// saves zeroing them.
    pub accumulate: bool,
    /// Products that are to be computed later; `None` computes each at once.
    pub later: Option<Vec<WeightGradient>>,
}
