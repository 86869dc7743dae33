//! The feed-forward part of a block.
//!
//! Legend: B batch, T sequence, N = B T rows, C width, H heads, D = C / H head size, L layers, V vocabulary.

use tch::{TchError, Tensor};

use super::backward::Backward;
use super::linear::Linear;
use super::ops;
use crate::kernels::RowGradient;
use crate::kernels::gelu::gelu;

/// The MLP's parameters, or their gradients.
pub(super) struct Mlp {
    /// Layer before GELU, `[C, 4C]`.
    pub expand: Linear,
    /// Layer after GELU, `[4C, C]`.
    pub projection: Linear,
}

/// Values that backward needs, beside the input.
pub(super) struct MlpCache {
    /// Input of GELU, `[N, 4C]`.
    expanded: Tensor,
    /// Output of GELU, `[N, 4C]`; `None` if it is to be computed again.
    activated: Option<Tensor>,
}

impl Mlp {
    /// Maps `x [N, C]` to GELU's output `[N, 4C]`, which is kept if `keep_activated`.
    /// [`projection`](Self::projection) makes the output of it.
    pub fn hidden(&self, x: &Tensor, keep_activated: bool) -> (Tensor, MlpCache) {
        let (expanded, activated) = ops::linear_and_gelu(x, &self.expand.weight, &self.expand.bias); // [N, 4C] both
        let kept = keep_activated.then(|| activated.shallow_clone()); // [N, 4C]
        (activated, MlpCache { expanded, activated: kept })
    }

    /// Returns the gradient of the input `x [N, C]`, given the gradient of the output, `dy [N, C]`.
    pub fn backward(
        &self,
        cache: MlpCache,
        x: Tensor,
        dy: RowGradient,
        gradient: &Mlp,
        backward: &mut Backward,
    ) -> Result<Tensor, TchError> {
        let MlpCache { expanded, activated } = cache; // [N, 4C] both
        let activated = activated.unwrap_or_else(|| gelu(&expanded)); // [N, 4C]
        // The product with GELU's output comes first: unless it is put off, that output is freed.
        Linear::backward_of_weights(activated, dy.clone(), &gradient.projection, backward)?;
        let dexpanded = ops::linear_and_gelu_backward(&dy.rows, &self.projection.weight, &expanded)?; // [N, 4C]
        drop(expanded);
        self.expand.backward(x, dexpanded, &gradient.expand, backward) // [N, C]
    }
}
