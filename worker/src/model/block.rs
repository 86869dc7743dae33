//! One pre-LayerNorm decoder block: x + attention(norm(x)), then x + mlp(norm(x)).
//!
//! No part adds its own result to the residual stream. It passes the result on as a branch, and the norm that follows
//! adds it, in the call that normalises the sum: one fused kernel on a GPU, two operations in its twin. Forward:
//!
//! ```text
//! stream x ─────┐ ┌── branch, of the block before; none after the embeddings
//!               ▼ ▼
//!           ┌─ norm_1 ──▶ y      one call (layer_norm): x = x + branch, y = LayerNorm(x)
//!           │             │
//!           │          attention: qkv, attention, projection
//!           │             │      the projection's bias is added by the norm, too, where that takes it (Linear::branch)
//!           x          branch
//!           │             │
//!           └─────┐ ┌─────┘
//!                 ▼ ▼
//!           ┌─ norm_2 ──▶ y      one call (layer_norm): x = x + branch, y = LayerNorm(x)
//!           │             │
//!           │           mlp: expand and GELU in one call (linear_and_gelu), projection
//!           │             │
//!           x          branch    added by norm_1 of the next block, or by the final norm
//!           ▼             ▼
//! ```
//!
//! Backward runs the other way. The gradient dx of a sum is the gradient of both the branch and the stream. It goes
//! through the part that made the branch, and the norm's one call (layer_norm_backward) adds it to the result:
//!
//! ```text
//! dx ─┬─▶ mlp ───────▶ dy ─▶ norm_2 ─▶ dx = LayerNorm's gradient of dy + dx
//!     └─────────────────────────▲
//! dx ─┬─▶ attention ─▶ dy ─▶ norm_1 ─▶ dx = LayerNorm's gradient of dy + dx
//!     └─────────────────────────▲
//! ```
//!
//! Legend: B batch, T sequence, N = B T rows, C width, H heads, D = C / H head size, L layers, V vocabulary.

use common::config::Recompute;
use tch::{TchError, Tensor};

use super::attention::{Attention, AttentionCache};
use super::backward::Backward;
use super::layer_norm::{LayerNorm, LayerNormCache, Stream};
use super::mlp::{Mlp, MlpCache};
use super::packed::Packed;
use crate::kernels::RowGradient;
use crate::kernels::attention::Shape;

/// A block's parameters, or their gradients.
pub(super) struct Block {
    pub norm_1: LayerNorm,
    pub attention: Attention,
    pub norm_2: LayerNorm,
    pub mlp: Mlp,
}

/// Values that backward needs.
pub(super) enum BlockCache {
    /// The input `[N, C]` alone: backward computes the block again.
    Input(Tensor),
    /// The values that its parts keep.
    Parts(Box<Parts>),
}

/// Values that the parts of a block keep.
pub(super) struct Parts {
    norm_1: LayerNormCache,
    attention: AttentionCache,
    norm_2: LayerNormCache,
    mlp: MlpCache,
}

impl Block {
    /// Maps the residual stream through the block; keeps what `recompute` says.
    pub fn forward(
        &self,
        stream: Stream,
        shape: Shape,
        recompute: Recompute,
    ) -> Result<(Stream, BlockCache), TchError> {
        let (activated, parts) = self.forward_to_gelu(stream, shape, recompute == Recompute::None)?; // [N, 4C]
        let branch = self.mlp.projection.branch(&activated); // [N, C]
        let out = Stream { x: parts.norm_2.x.shallow_clone(), branch: Some(branch) }; // [N, C] both
        let cache = match recompute {
            Recompute::Block => BlockCache::Input(parts.norm_1.x), // [N, C]
            Recompute::None | Recompute::GeluLayernorm => BlockCache::Parts(Box::new(parts)),
        };
        Ok((out, cache))
    }

    /// Maps the residual stream of packed sequences through the block; keeps nothing for backward.
    pub fn forward_packed(&self, stream: Stream, packed: &Packed, heads: i64) -> Result<Stream, TchError> {
        let (normalised, norm_1) = self.norm_1.forward(stream, false)?; // [N, C]
        let branch = self.attention.forward_packed(&normalised, packed, heads)?; // [N, C]
        drop(normalised);
        let attended = Stream { x: norm_1.x, branch: Some(branch) }; // [N, C] both
        let (normalised, norm_2) = self.norm_2.forward(attended, false)?; // [N, C]
        let (activated, _) = self.mlp.hidden(&normalised, false); // [N, 4C]
        let branch = self.mlp.projection.branch(&activated); // [N, C]
        Ok(Stream { x: norm_2.x, branch: Some(branch) }) // [N, C] both
    }

    /// Computes all of forward except the last product, which backward does not need. Returns `[N, 4C]`, GELU's
    /// output.
    fn forward_to_gelu(&self, stream: Stream, shape: Shape, keep: bool) -> Result<(Tensor, Parts), TchError> {
        let (normalised, norm_1) = self.norm_1.forward(stream, keep)?; // [N, C]
        let (branch, attention) = self.attention.forward(&normalised, shape)?; // [N, C]
        drop(normalised);
        let attended = Stream { x: norm_1.x.shallow_clone(), branch: Some(branch) }; // [N, C] both
        let (normalised, norm_2) = self.norm_2.forward(attended, keep)?; // [N, C]
        let (activated, mlp) = self.mlp.hidden(&normalised, keep); // [N, 4C]
        Ok((activated, Parts { norm_1, attention, norm_2, mlp }))
    }

    /// Returns the gradient of the input `[N, C]`, given the gradient of the output, `dx [N, C]`. Frees the cache as
    /// it goes.
    pub fn backward(
        &self,
        cache: BlockCache,
        dx: RowGradient,
        gradient: &Block,
        backward: &mut Backward,
    ) -> Result<RowGradient, TchError> {
        let parts = match cache {
            BlockCache::Parts(parts) => *parts,
            BlockCache::Input(x) => self.forward_to_gelu(Stream { x, branch: None }, backward.shape, true)?.1,
        };
        let Parts { norm_1, attention, norm_2, mlp } = parts;
        let normalised = self.norm_2.output(&norm_2)?; // [N, C]
        let dy = self.mlp.backward(mlp, normalised, dx.clone(), &gradient.mlp, backward)?; // [N, C]
        let dattended = self.norm_2.backward(&norm_2, &dy, Some(&dx.rows), &gradient.norm_2, backward)?; // [N, C]
        drop((norm_2, dy, dx));
        let normalised = self.norm_1.output(&norm_1)?; // [N, C]
        let dx = dattended.clone(); // [N, C]
        let dy = self.attention.backward(attention, normalised, dx, &gradient.attention, backward)?; // [N, C]
        self.norm_1.backward(&norm_1, &dy, Some(&dattended.rows), &gradient.norm_1, backward) // [N, C]
    }
}
