//! Causal multi-head self-attention. Shapes: see the legend in the parent module.

use tch::{TchError, Tensor};

use super::mlp::{linear, linear_backward};

/// Attention's parameters, or their gradients.
pub(super) struct Attention {
    /// [C, 3C]: queries, keys, values side by side.
    pub qkv_weight: Tensor,
    /// [3C]
    pub qkv_bias: Tensor,
    /// [C, C]
    pub projection_weight: Tensor,
    /// [C]
    pub projection_bias: Tensor,
}

/// What backward needs.
pub(super) struct AttentionCache {
    /// The input, [N, C].
    x: Tensor,
    /// [N, 3C]
    qkv: Tensor,
    /// [B, H, T, D]
    out: Tensor,
    /// Log of each row's softmax denominator, [B, H, T].
    log_sum_exp: Tensor,
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
    /// `x` [N, C], which is kept, to [N, C].
    pub fn forward(&self, x: Tensor, (b, t): (i64, i64), heads: i64) -> Result<(Tensor, AttentionCache), TchError> {
        let qkv = linear(&x, &self.qkv_weight, &self.qkv_bias); // [N, 3C]
        let [q, k, v] = split_heads(&qkv, b, t, heads); // [B, H, T, D] each
        let (out, log_sum_exp) =
            Tensor::f_internal_scaled_dot_product_flash_attention_for_cpu(&q, &k, &v, 0.0, true, None::<Tensor>, None)?; // [B, H, T, D], [B, H, T]
        let y = linear(&merge_heads(&out, b * t), &self.projection_weight, &self.projection_bias); // [N, C]
        Ok((y, AttentionCache { x, qkv, out, log_sum_exp }))
    }

    /// The gradient of the input [N, C], given that of the output, `dy` [N, C].
    pub fn backward(
        &self,
        cache: &AttentionCache,
        dy: &Tensor,
        gradient: &mut Attention,
        heads: i64,
    ) -> Result<Tensor, TchError> {
        let AttentionCache { x, qkv, out, log_sum_exp } = cache;
        let (b, t, n) = (out.size()[0], out.size()[2], dy.size()[0]);
        let merged = merge_heads(out, n); // [N, C]
        let dmerged = linear_backward(
            &merged,
            dy,
            &self.projection_weight,
            &mut gradient.projection_weight,
            &mut gradient.projection_bias,
        ); // [N, C]
        let dout = dmerged.view([b, t, heads, -1]).transpose(1, 2); // [B, H, T, D]
        let [q, k, v] = split_heads(qkv, b, t, heads);
        let (dq, dk, dv) = Tensor::f_internal_scaled_dot_product_flash_attention_for_cpu_backward(
            &dout,
            &q,
            &k,
            &v,
            out,
            log_sum_exp,
            0.0,
            true,
            None::<Tensor>,
            None,
        )?; // [B, H, T, D] each
        let dqkv = Tensor::cat(&[dq, dk, dv].map(|d| merge_heads(&d, n)), 1); // [N, 3C]
        Ok(linear_backward(x, &dqkv, &self.qkv_weight, &mut gradient.qkv_weight, &mut gradient.qkv_bias))
    }
}
