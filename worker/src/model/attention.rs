//! Causal multi-head self-attention.
//!
//! Legend: B batch, T sequence, N = B T rows, C width, H heads, D = C / H head size, L layers, V vocabulary.

use tch::{TchError, Tensor};

use super::backward::Backward;
use super::linear::Linear;
use super::packed::Packed;
use crate::kernels::RowGradient;
use crate::kernels::attention::{Attended, Shape, attention, attention_backward};
use crate::kernels::layer_norm::Branch;

/// Attention's parameters, or their gradients.
pub(super) struct Attention {
    /// Maps to queries, keys and values side by side, `[C, 3C]`.
    pub qkv: Linear,
    /// Maps the results of the heads to the output, `[C, C]`.
    pub projection: Linear,
}

/// Values that backward needs, beside the input.
pub(super) struct AttentionCache {
    /// Queries, keys and values, `[N, 3C]`.
    qkv: Tensor,
    /// Rows `[N, C]`, and the other values that attention's backward needs.
    attended: Attended,
}

impl Attention {
    /// Maps `x [N, C]` to the branch that is added to the stream.
    pub fn forward(&self, x: &Tensor, shape: Shape) -> Result<(Branch, AttentionCache), TchError> {
        let qkv = self.qkv.forward(x); // [N, 3C]
        let attended = attention(&qkv, shape)?; // rows [N, C], of H heads of D columns
        let y = self.projection.branch(&attended.rows()); // [N, C]
        Ok((y, AttentionCache { qkv, attended }))
    }

    /// Maps `x [N, C]` of packed sequences to the branch that is added to the stream; keeps nothing for backward.
    pub fn forward_packed(&self, x: &Tensor, packed: &Packed, heads: i64) -> Result<Branch, TchError> {
        let qkv = self.qkv.forward(x); // [N, 3C]
        let attend = |qkv: &Tensor| {
            let shape = Shape { batch: 1, sequence: qkv.size()[0], heads };
            Ok(attention(qkv, shape)?.rows()) // [T, C]
        };
        Ok(self.projection.branch(&packed.attend(&qkv, attend)?)) // [N, C]
    }

    /// Returns the gradient of the input `x [N, C]`, given the gradient of the output, `dy [N, C]`.
    pub fn backward(
        &self,
        cache: AttentionCache,
        x: Tensor,
        dy: RowGradient,
        gradient: &Attention,
        backward: &mut Backward,
    ) -> Result<Tensor, TchError> {
        let AttentionCache { qkv, attended } = cache; // [N, 3C], rows [N, C]
        let dattended = self.projection.backward(attended.rows(), dy, &gradient.projection, backward)?; // [N, C]
        let dqkv = attention_backward(dattended, &qkv, attended, backward.shape)?; // [N, 3C]
        self.qkv.backward(x, dqkv, &gradient.qkv, backward) // [N, C]
    }
}
