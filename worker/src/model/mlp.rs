//! The feed-forward part of a block, and the linear layer that attention shares. Shapes: see the legend in the parent
//! module.

use tch::Tensor;

/// GPT-2's GELU is the tanh approximation (Hendrycks and Gimpel, 2016).
const GELU: &str = "tanh";

/// The MLP's parameters, or their gradients.
pub(super) struct Mlp {
    /// [C, 4C]
    pub expand_weight: Tensor,
    /// [4C]
    pub expand_bias: Tensor,
    /// [4C, C]
    pub projection_weight: Tensor,
    /// [C]
    pub projection_bias: Tensor,
}

/// What backward needs.
pub(super) struct MlpCache {
    /// The input, [N, C].
    x: Tensor,
    /// Before GELU, [N, 4C].
    expanded: Tensor,
    /// After it, [N, 4C].
    activated: Tensor,
}

impl Mlp {
    /// `x` [N, C], which is kept, to [N, C].
    pub fn forward(&self, x: Tensor) -> (Tensor, MlpCache) {
        let expanded = linear(&x, &self.expand_weight, &self.expand_bias); // [N, 4C]
        let activated = expanded.gelu(GELU); // [N, 4C]
        let y = linear(&activated, &self.projection_weight, &self.projection_bias); // [N, C]
        (y, MlpCache { x, expanded, activated })
    }

    /// The gradient of the input [N, C], given that of the output, `dy` [N, C].
    pub fn backward(&self, cache: &MlpCache, dy: &Tensor, gradient: &mut Mlp) -> Tensor {
        let MlpCache { x, expanded, activated } = cache;
        let (dweight, dbias) = (&mut gradient.projection_weight, &mut gradient.projection_bias);
        let dactivated = linear_backward(activated, dy, &self.projection_weight, dweight, dbias); // [N, 4C]
        let dexpanded = expanded.gelu_backward(&dactivated, GELU); // [N, 4C]
        linear_backward(x, &dexpanded, &self.expand_weight, &mut gradient.expand_weight, &mut gradient.expand_bias)
    }
}

/// `x` [N, in] times `weight` [in, out] plus `bias` [out].
pub(super) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    bias.addmm(x, weight)
}

/// Adds the gradients of a linear layer's weight and bias, and returns that of its input [N, in].
pub(super) fn linear_backward(
    x: &Tensor,
    dy: &Tensor,
    weight: &Tensor,
    dweight: &mut Tensor,
    dbias: &mut Tensor,
) -> Tensor {
    let _ = dweight.addmm_(&x.tr(), dy);
    let _ = dbias.g_add_(&dy.sum_dim_intlist(0, false, None));
    dy.mm(&weight.tr())
}
