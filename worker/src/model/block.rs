//! One pre-LayerNorm decoder block: x + attention(norm(x)), then x + mlp(norm(x)). Shapes: see the legend in the parent
//! module.

use common::config::Recompute;
use tch::{TchError, Tensor};

use super::attention::{Attention, AttentionCache};
use super::layer_norm::{LayerNorm, LayerNormCache};
use super::linear::Backward;
use super::mlp::{Mlp, MlpCache};

/// A block's parameters, or their gradients.
pub(super) struct Block {
    pub norm_1: LayerNorm,
    pub attention: Attention,
    pub norm_2: LayerNorm,
    pub mlp: Mlp,
}

/// What is the same for all blocks of a forward pass.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// B
    pub batch: i64,
    /// T
    pub sequence: i64,
    /// H
    pub heads: i64,
}

/// What backward needs.
pub(super) enum BlockCache {
    /// The input [N, C] alone: the block is computed again.
    Input(Tensor),
    /// What its parts keep.
    Parts(Box<Parts>),
}

/// What the parts of a block keep.
pub(super) struct Parts {
    norm_1: LayerNormCache,
    attention: AttentionCache,
    norm_2: LayerNormCache,
    mlp: MlpCache,
}

impl Block {
    /// The residual stream `x` [N, C] through the block; keeps what `recompute` says.
    pub fn forward(&self, x: Tensor, shape: Shape, recompute: Recompute) -> Result<(Tensor, BlockCache), TchError> {
        let input = x.shallow_clone();
        let (attended, activated, parts) = self.forward_to_gelu(x, shape, recompute == Recompute::None)?;
        let mut out = self.mlp.projection.forward(&activated); // [N, C]
        let _ = out.g_add_(&attended);
        let cache = match recompute {
            Recompute::Block => BlockCache::Input(input),
            Recompute::None | Recompute::GeluLayernorm => BlockCache::Parts(Box::new(parts)),
        };
        Ok((out, cache))
    }

    /// All of forward but the last product, which backward does not need: the stream after attention [N, C], and what
    /// follows GELU [N, 4C].
    fn forward_to_gelu(&self, x: Tensor, shape: Shape, keep: bool) -> Result<(Tensor, Tensor, Parts), TchError> {
        let (normalised, norm_1) = self.norm_1.forward(x.shallow_clone(), keep)?;
        let (mut attended, attention) =
            self.attention.forward(&normalised, (shape.batch, shape.sequence), shape.heads)?;
        let _ = attended.g_add_(&x); // [N, C]
        let (normalised, norm_2) = self.norm_2.forward(attended.shallow_clone(), keep)?;
        let (activated, mlp) = self.mlp.hidden(&normalised, keep);
        Ok((attended, activated, Parts { norm_1, attention, norm_2, mlp }))
    }

    /// The gradient of the input [N, C], given that of the output, `dx` [N, C]. Frees the cache as it goes.
    pub fn backward(
        &self,
        cache: BlockCache,
        dx: Tensor,
        gradient: &Block,
        shape: Shape,
        backward: &mut Backward,
    ) -> Result<Tensor, TchError> {
        let parts = match cache {
            BlockCache::Parts(parts) => *parts,
            BlockCache::Input(x) => self.forward_to_gelu(x, shape, true)?.2,
        };
        let Parts { norm_1, attention, norm_2, mlp } = parts;
        let normalised = self.norm_2.output(&norm_2)?;
        let dnormalised = self.mlp.backward(mlp, normalised, dx.shallow_clone(), &gradient.mlp, backward)?;
        let mut dattended = self.norm_2.backward(&norm_2, &dnormalised, &gradient.norm_2, backward)?;
        drop((norm_2, dnormalised));
        let _ = dattended.g_add_(&dx);
        drop(dx);
        let normalised = self.norm_1.output(&norm_1)?;
        let (dy, gradient_of) = (dattended.shallow_clone(), &gradient.attention);
        let dnormalised = self.attention.backward(attention, normalised, dy, gradient_of, shape.heads, backward)?;
        let mut dinput = self.norm_1.backward(&norm_1, &dnormalised, &gradient.norm_1, backward)?;
        let _ = dinput.g_add_(&dattended);
        Ok(dinput)
    }
}
