//! The feed-forward part of a block. Shapes: see the legend in the parent module.

use tch::{TchError, Tensor};

use super::linear::{Backward, Linear};
use crate::kernels::RowGradient;
use crate::kernels::gelu::{gelu, gelu_backward};

/// The MLP's parameters, or their gradients.
pub(super) struct Mlp {
    /// [C, 4C]
    pub expand: Linear,
    /// [4C, C]
    pub projection: Linear,
}

/// What backward needs, beside the input.
pub(super) struct MlpCache {
    /// Before GELU, [N, 4C].
    expanded: Tensor,
    /// After it, [N, 4C]; `None` where it is to be computed again.
    activated: Option<Tensor>,
}

impl Mlp {
    /// `x` [N, C] to what follows GELU [N, 4C], which is kept if `keep_activated`; [`projection`](Self::projection) makes
    /// the output of it.
    pub fn hidden(&self, x: &Tensor, keep_activated: bool) -> (Tensor, MlpCache) {
        let expanded = self.expand.forward(x); // [N, 4C]
        let activated = gelu(&expanded); // [N, 4C]
        let kept = keep_activated.then(|| activated.shallow_clone());
        (activated, MlpCache { expanded, activated: kept })
    }

    /// The gradient of the input `x` [N, C], given that of the output, `dy` [N, C].
    pub fn backward(
        &self,
        cache: MlpCache,
        x: Tensor,
        dy: RowGradient,
        gradient: &Mlp,
        backward: &mut Backward,
    ) -> Result<Tensor, TchError> {
        let MlpCache { expanded, activated } = cache;
        let activated = activated.unwrap_or_else(|| gelu(&expanded));
        let dactivated = self.projection.backward(activated, dy, &gradient.projection, backward)?; // [N, 4C]
        let dexpanded = gelu_backward(&expanded, &dactivated)?; // [N, 4C]
        drop((expanded, dactivated));
        self.expand.backward(x, dexpanded, &gradient.expand, backward)
    }
}
