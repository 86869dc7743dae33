//! LayerNorm (Ba et al., 2016) of the residual stream.
//!
//! Legend: B batch, T sequence, N = B T rows, C width, H heads, D = C / H head size, L layers, V vocabulary.

use tch::{TchError, Tensor};

use super::backward::Backward;
use super::ops;
use crate::kernels::RowGradient;
use crate::kernels::layer_norm::{Branch, Normalised, layer_norm, layer_norm_backward};

/// The residual stream between two parts of the model: the norm at the start of the next part adds the branch.
pub(super) struct Stream {
    /// Stream without the branch, `[N, C]`.
    pub x: Tensor,
    /// Branch that the last part adds, if any.
    pub branch: Option<Branch>,
}

/// A LayerNorm's parameters, or their gradients.
pub(super) struct LayerNorm {
    /// Weight, `[C]`.
    pub weight: Tensor,
    /// Bias, `[C]`.
    pub bias: Tensor,
}

/// Values that backward needs.
pub(super) struct LayerNormCache {
    /// Sum of the stream and its branch, `[N, C]`.
    pub x: Tensor,
    /// Mean of each row, `[N, 1]`.
    mean: Tensor,
    /// Reciprocal of each row's standard deviation, `[N, 1]`.
    rstd: Tensor,
    /// Output, `[N, C]`; `None` if it is to be computed again.
    y: Option<Tensor>,
}

impl LayerNorm {
    /// Normalises the stream to `[N, C]`. Keeps the sum with the branch, and the result if `keep_output`.
    pub fn forward(&self, stream: Stream, keep_output: bool) -> Result<(Tensor, LayerNormCache), TchError> {
        // x, y [N, C]; mean, rstd [N, 1]
        let Normalised { x, y, mean, rstd } = layer_norm(stream.x, stream.branch, &self.weight, &self.bias)?;
        let kept = keep_output.then(|| y.shallow_clone()); // [N, C]
        Ok((y, LayerNormCache { x, mean, rstd, y: kept }))
    }

    /// Returns the result of forward: kept, or computed again with identical bits.
    pub fn output(&self, cache: &LayerNormCache) -> Result<Tensor, TchError> {
        match &cache.y {
            Some(y) => Ok(y.shallow_clone()), // [N, C]
            None => Ok(layer_norm(cache.x.shallow_clone(), None, &self.weight, &self.bias)?.y), // [N, C]
        }
    }

    /// Returns the gradient of the stream `[N, C]`, given the gradient of the output, `dy [N, C]`, and the gradient
    /// of the stream where it continues, `dstream [N, C]`.
    pub fn backward(
        &self,
        cache: &LayerNormCache,
        dy: &Tensor,
        dstream: Option<&Tensor>,
        gradient: &LayerNorm,
        backward: &Backward,
    ) -> Result<RowGradient, TchError> {
        let LayerNormCache { x, mean, rstd, .. } = cache; // [N, C], [N, 1], [N, 1]
        // x [N, C], with dstream added; weight, bias [C]
        let made = layer_norm_backward(dy, x, (mean, rstd), (&self.weight, &self.bias), dstream)?;
        ops::add(&gradient.weight, &made.weight, backward.accumulate); // [C]
        ops::add(&gradient.bias, &made.bias, backward.accumulate); // [C]
        Ok(made.x)
    }
}
