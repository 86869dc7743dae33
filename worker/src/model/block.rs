//! One pre-LayerNorm decoder block: x + attention(norm(x)), then x + mlp(norm(x)). Shapes: see the legend in the parent
//! module.

use common::config::Recompute;
use tch::{TchError, Tensor};

use super::attention::{Attention, AttentionCache};
use super::layer_norm::{LayerNorm, LayerNormCache, Stream};
use super::linear::Backward;
use super::mlp::{Mlp, MlpCache};
use crate::kernels::RowGradient;
use crate::kernels::attention::Shape;

/// A block's parameters, or their gradients.
pub(super) struct Block {
    pub norm_1: LayerNorm,
    pub attention: Attention,
    pub norm_2: LayerNorm,
    pub mlp: Mlp,
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
    /// The residual stream through the block; keeps what `recompute` says.
    pub fn forward(
        &self,
        stream: Stream,
        shape: Shape,
        recompute: Recompute,
    ) -> Result<(Stream, BlockCache), TchError> {
        let (activated, parts) = self.forward_to_gelu(stream, shape, recompute == Recompute::None)?;
        let branch = self.mlp.projection.branch(&activated);
        let out = Stream { x: parts.norm_2.x.shallow_clone(), branch: Some(branch) };
        let cache = match recompute {
            Recompute::Block => BlockCache::Input(parts.norm_1.x),
            Recompute::None | Recompute::GeluLayernorm => BlockCache::Parts(Box::new(parts)),
        };
        Ok((out, cache))
    }

    /// All of forward but the last product, which backward does not need: what follows GELU [N, 4C].
    fn forward_to_gelu(&self, stream: Stream, shape: Shape, keep: bool) -> Result<(Tensor, Parts), TchError> {
        let (normalised, norm_1) = self.norm_1.forward(stream, keep)?;
        let (branch, attention) = self.attention.forward(&normalised, shape)?;
        drop(normalised);
        let attended = Stream { x: norm_1.x.shallow_clone(), branch: Some(branch) };
        let (normalised, norm_2) = self.norm_2.forward(attended, keep)?;
        let (activated, mlp) = self.mlp.hidden(&normalised, keep);
        Ok((activated, Parts { norm_1, attention, norm_2, mlp }))
    }

    /// The gradient of the input [N, C], given that of the output, `dx` [N, C]. Frees the cache as it goes.
    pub fn backward(
        &self,
        cache: BlockCache,
        dx: RowGradient,
        gradient: &Block,
        shape: Shape,
        backward: &mut Backward,
    ) -> Result<RowGradient, TchError> {
        let parts = match cache {
            BlockCache::Parts(parts) => *parts,
            BlockCache::Input(x) => self.forward_to_gelu(Stream { x, branch: None }, shape, true)?.1,
        };
        let Parts { norm_1, attention, norm_2, mlp } = parts;
        let normalised = self.norm_2.output(&norm_2)?;
        let dnormalised = self.mlp.backward(mlp, normalised, dx.clone(), &gradient.mlp, backward)?;
        let dattended = self.norm_2.backward(&norm_2, &dnormalised, Some(&dx.rows), &gradient.norm_2, backward)?;
        drop((norm_2, dnormalised, dx));
        let normalised = self.norm_1.output(&norm_1)?;
        let (dy, gradient_of) = (dattended.clone(), &gradient.attention);
        let dnormalised = self.attention.backward(attention, normalised, dy, gradient_of, shape, backward)?;
        self.norm_1.backward(&norm_1, &dnormalised, Some(&dattended.rows), &gradient.norm_1, backward)
    }
}
