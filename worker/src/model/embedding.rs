//! Tokens and positions to the residual stream. Shapes: see the legend in the parent module.

use tch::Tensor;

/// `inputs` [B, T] to the residual stream [N, C].
pub(super) fn forward(inputs: &Tensor, tokens: &Tensor, positions: &Tensor) -> Tensor {
    let (b, t) = (inputs.size()[0], inputs.size()[1]);
    let x = tokens.index_select(0, &inputs.view([-1])).view([b, t, -1]); // [B, T, C]
    (x + positions.narrow(0, 0, t)).view([b * t, -1]) // [N, C]
}

/// Adds the gradients of both embeddings, given that of the residual stream, `dx` [N, C].
pub(super) fn backward(inputs: &Tensor, dx: &Tensor, dtokens: &mut Tensor, dpositions: &mut Tensor) {
    let (b, t) = (inputs.size()[0], inputs.size()[1]);
    let _ = dtokens.index_add_(0, &inputs.view([-1]), dx);
    let per_position = dx.view([b, t, -1]).sum_dim_intlist(0, false, None); // [T, C]
    let _ = dpositions.narrow(0, 0, t).g_add_(&per_position);
}
