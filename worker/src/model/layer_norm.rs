//! LayerNorm (Ba et al., 2016) of the residual stream.
//!
//! Legend: B batch, T sequence, N = B T rows, C width, H heads, D = C / H head size, L layers, V vocabulary.

use tch::{TchError, Tensor};

use super::backward::Backward;
use super::ops;
use crate::kernels::RowGradient;
use crate::kernels::layer_norm::{Branch, Normalised, layer_norm, layer_norm_backward};

/// The residual stream, as one part of the model hands it to the next: the norm that comes first there adds the branch.
pub(super) struct Stream {
    /// `[N, C]`
    pub x: Tensor,
    /// What the last part adds to it.
    pub branch: Option<Branch>,
}

/// A LayerNorm's parameters, or their gradients.
pub(super) struct LayerNorm {
    /// `[C]`
    pub weight: Tensor,
    /// `[C]`
    pub bias: Tensor,
}

/// What backward needs.
pub(super) struct LayerNormCache {
    /// The stream with its branch, `[N, C]`.
    pub x: Tensor,
    /// `[N, 1]`
    mean: Tensor,
    /// `[N, 1]`
    rstd: Tensor,
    /// The output, `[N, C]`; `None` where it is to be computed again.
    y: Option<Tensor>,
}

impl LayerNorm {
    /// The stream, whose sum is kept, to its normalised form `[N, C]`, which is kept if `keep_output`.
    pub fn forward(&self, stream: Stream, keep_output: bool) -> Result<(Tensor, LayerNormCache), TchError> {
        // x, y [N, C]; mean, rstd [N, 1]
        let Normalised { x, y, mean, rstd } = layer_norm(stream.x, stream.branch, &self.weight, &self.bias)?;
        let kept = keep_output.then(|| y.shallow_clone()); // [N, C]
        Ok((y, LayerNormCache { x, mean, rstd, y: kept }))
    }

    /// What forward returned: kept, or computed again with the same bits.
    pub fn output(&self, cache: &LayerNormCache) -> Result<Tensor, TchError> {
        match &cache.y {
            Some(y) => Ok(y.shallow_clone()), // [N, C]
            None => Ok(layer_norm(cache.x.shallow_clone(), None, &self.weight, &self.bias)?.y), // [N, C]
        }
    }

    /// The gradient of the stream `[N, C]`, given that of the output, `dy [N, C]`, and that of the stream where it goes on,
    /// `dstream [N, C]`.
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
