//! LayerNorm (Ba et al., 2016). Shapes: see the legend in the parent module.

use tch::{TchError, Tensor};

use crate::libtorch;

/// GPT-2's epsilon.
const EPSILON: f64 = 1e-5;

/// A LayerNorm's parameters, or their gradients.
pub(super) struct LayerNorm {
    /// [C]
    pub weight: Tensor,
    /// [C]
    pub bias: Tensor,
}

/// What backward needs.
pub(super) struct LayerNormCache {
    /// The input, [N, C].
    x: Tensor,
    /// [N, 1]
    mean: Tensor,
    /// [N, 1]
    rstd: Tensor,
}

impl LayerNorm {
    /// `x` [N, C], which is kept, to its normalised form [N, C].
    pub fn forward(&self, x: Tensor) -> Result<(Tensor, LayerNormCache), TchError> {
        let c = *x.size().last().unwrap_or(&0);
        let (y, mean, rstd) = x.f_native_layer_norm([c], Some(&self.weight), Some(&self.bias), EPSILON)?;
        Ok((y, LayerNormCache { x, mean, rstd }))
    }

    /// The gradient of the input [N, C], given that of the output, `dy` [N, C].
    pub fn backward(&self, cache: &LayerNormCache, dy: &Tensor, gradient: &mut LayerNorm) -> Result<Tensor, TchError> {
        let LayerNormCache { x, mean, rstd } = cache;
        let (dx, dweight, dbias) = libtorch::layer_norm_backward(dy, x, mean, rstd, &self.weight, &self.bias)?;
        let _ = gradient.weight.g_add_(&dweight);
        let _ = gradient.bias.g_add_(&dbias);
        Ok(dx)
    }
}
