//! LayerNorm (Ba et al., 2016). Shapes: see the legend in the parent module.

use tch::{TchError, Tensor};

use super::linear::Backward;
use super::ops;

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
    /// The output, [N, C]; `None` where it is to be computed again.
    y: Option<Tensor>,
}

impl LayerNorm {
    /// `x` [N, C], which is kept, to its normalised form [N, C], which is kept if `keep_output`.
    pub fn forward(&self, x: Tensor, keep_output: bool) -> Result<(Tensor, LayerNormCache), TchError> {
        let (y, mean, rstd) = ops::layer_norm(&x, &self.weight, &self.bias)?;
        let kept = keep_output.then(|| y.shallow_clone());
        Ok((y, LayerNormCache { x, mean, rstd, y: kept }))
    }

    /// What forward returned: kept, or computed again with the same bits.
    pub fn output(&self, cache: &LayerNormCache) -> Result<Tensor, TchError> {
        match &cache.y {
            Some(y) => Ok(y.shallow_clone()),
            None => Ok(ops::layer_norm(&cache.x, &self.weight, &self.bias)?.0),
        }
    }

    /// The gradient of the input [N, C], given that of the output, `dy` [N, C].
    pub fn backward(
        &self,
        cache: &LayerNormCache,
        dy: &Tensor,
        gradient: &LayerNorm,
        backward: &Backward,
    ) -> Result<Tensor, TchError> {
        let LayerNormCache { x, mean, rstd, .. } = cache;
        let (dx, dweight, dbias) = ops::layer_norm_backward(dy, x, (mean, rstd), (&self.weight, &self.bias))?;
        ops::add(&gradient.weight, &dweight, backward.accumulate);
        ops::add(&gradient.bias, &dbias, backward.accumulate);
        Ok(dx)
    }
}
