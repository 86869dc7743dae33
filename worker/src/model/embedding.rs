//! Maps tokens and positions to the residual stream.
//!
//! Legend: B batch, T sequence, N = B T rows, C width, H heads, D = C / H head size, L layers, V vocabulary.

use tch::{TchError, Tensor};

use super::ops;
use crate::libtorch;

/// Maps `inputs [B, T]` to the residual stream `[N, C]`, by the rows of the embeddings `tokens [V padded, C]` and
/// `positions [context, C]`.
pub(super) fn forward(inputs: &Tensor, tokens: &Tensor, positions: &Tensor) -> Tensor {
    let (b, t) = (inputs.size()[0], inputs.size()[1]);
    let x = tokens.index_select(0, &inputs.view([-1])).view([b, t, -1]); // [B, T, C]
    (x + positions.narrow(0, 0, t)).view([b * t, -1]) // [N, C]
}

/// Adds the gradients of both embeddings, given the gradient of the residual stream, `dx [N, C]`. The head has left
/// its part in `dtokens [V padded, C]`; the present `dpositions [context, C]` count if `accumulate`.
pub(super) fn backward(
    inputs: &Tensor,
    dx: &Tensor,
    dtokens: &Tensor,
    dpositions: &Tensor,
    accumulate: bool,
) -> Result<(), TchError> {
    let (b, t) = (inputs.size()[0], inputs.size()[1]);
    let dx = dx.to_kind(dtokens.kind()); // [N, C]
    libtorch::add_rows(dtokens, &inputs.view([-1]), &dx)?; // [V padded, C], [N], [N, C]
    if !accumulate {
        let _ = dpositions.shallow_clone().zero_(); // [context, C]
    }
    let per_position = dx.view([b, t, -1]).sum_dim_intlist(0, false, None); // [T, C]
    ops::add(&dpositions.narrow(0, 0, t), &per_position, true); // [T, C]
    Ok(())
}
