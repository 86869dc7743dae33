//! Causal multi-head self-attention. Shapes: see the legend in the parent module.

use tch::{TchError, Tensor};

use super::linear::{Backward, Linear};
use super::ops::{self, AttentionState};
use crate::kernels::RowGradient;
use crate::kernels::columns::join;
use crate::kernels::layer_norm::Branch;

/// Attention's parameters, or their gradients.
pub(super) struct Attention {
    /// [C, 3C]: to queries, keys, values side by side.
    pub qkv: Linear,
    /// [C, C]
    pub projection: Linear,
}

/// What backward needs, beside the input.
pub(super) struct AttentionCache {
    /// [N, 3C]
    qkv: Tensor,
    state: AttentionState,
}

/// Views of queries, keys and values [B, H, T, D] in `qkv` [N, 3C].
fn split_heads(qkv: &Tensor, b: i64, t: i64, heads: i64) -> [Tensor; 3] {
    let parts = qkv.view([b, t, 3, heads, -1]).permute([2, 0, 3, 1, 4]); // [3, B, H, T, D]
    [0, 1, 2].map(|i| parts.select(0, i))
}

/// [B, H, T, D] to [N, C].
fn merge_heads(x: &Tensor, rows: i64) -> Tensor {
    x.transpose(1, 2).reshape([rows, -1])
}

impl Attention {
    /// `x` [N, C] to what it adds to the stream.
    pub fn forward(&self, x: &Tensor, (b, t): (i64, i64), heads: i64) -> Result<(Branch, AttentionCache), TchError> {
        let qkv = self.qkv.forward(x); // [N, 3C]
        let [q, k, v] = split_heads(&qkv, b, t, heads); // [B, H, T, D] each
        let state = ops::attention(&q, &k, &v)?;
        let y = self.projection.branch(&merge_heads(state.out(), b * t));
        Ok((y, AttentionCache { qkv, state }))
    }

    /// The gradient of the input `x` [N, C], given that of the output, `dy` [N, C].
    pub fn backward(
        &self,
        cache: AttentionCache,
        x: Tensor,
        dy: RowGradient,
        gradient: &Attention,
        heads: i64,
        backward: &mut Backward,
    ) -> Result<Tensor, TchError> {
        let AttentionCache { qkv, state } = cache;
        let (b, t, n) = (state.out().size()[0], state.out().size()[2], dy.rows.size()[0]);
        let merged = merge_heads(state.out(), n); // [N, C]
        let dmerged = self.projection.backward(merged, dy, &gradient.projection, backward)?; // [N, C]
        let dout = dmerged.view([b, t, heads, -1]).transpose(1, 2); // [B, H, T, D]
        let [q, k, v] = split_heads(&qkv, b, t, heads);
        let d = ops::attention_backward(&dout, [&q, &k, &v], &state)?; // [B, H, T, D] each
        drop((state, dmerged, dout));
        let [dq, dk, dv] = d.map(|d| merge_heads(&d, n)); // [N, C] each
        let dqkv = join([&dq, &dk, &dv])?; // [N, 3C]
        drop((dq, dk, dv));
        self.qkv.backward(x, dqkv, &gradient.qkv, backward)
    }
}
