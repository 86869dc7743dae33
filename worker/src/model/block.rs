//! One pre-LayerNorm decoder block: x + attention(norm(x)), then x + mlp(norm(x)). Shapes: see the legend in the parent
//! module.

use tch::{TchError, Tensor};

use super::attention::{Attention, AttentionCache};
use super::layer_norm::{LayerNorm, LayerNormCache};
use super::mlp::{Mlp, MlpCache};

/// A block's parameters, or their gradients.
pub(super) struct Block {
    pub norm_1: LayerNorm,
    pub attention: Attention,
    pub norm_2: LayerNorm,
    pub mlp: Mlp,
}

/// What backward needs.
pub(super) struct BlockCache {
    norm_1: LayerNormCache,
    attention: AttentionCache,
    norm_2: LayerNormCache,
    mlp: MlpCache,
}

impl Block {
    /// The residual stream `x` [N, C] through the block.
    pub fn forward(&self, x: Tensor, (b, t): (i64, i64), heads: i64) -> Result<(Tensor, BlockCache), TchError> {
        let (normalised, norm_1) = self.norm_1.forward(x.shallow_clone())?;
        let (mut attended, attention) = self.attention.forward(normalised, (b, t), heads)?;
        let _ = attended.g_add_(&x); // [N, C]
        let (normalised, norm_2) = self.norm_2.forward(attended.shallow_clone())?;
        let (mut out, mlp) = self.mlp.forward(normalised);
        let _ = out.g_add_(&attended); // [N, C]
        Ok((out, BlockCache { norm_1, attention, norm_2, mlp }))
    }

    /// The gradient of the input [N, C], given that of the output, `dx` [N, C]. Frees the cache as it goes.
    pub fn backward(
        &self,
        cache: BlockCache,
        dx: Tensor,
        gradient: &mut Block,
        heads: i64,
    ) -> Result<Tensor, TchError> {
        let BlockCache { norm_1, attention, norm_2, mlp } = cache;
        let dnormalised = self.mlp.backward(&mlp, &dx, &mut gradient.mlp);
        drop(mlp);
        let mut dattended = self.norm_2.backward(&norm_2, &dnormalised, &mut gradient.norm_2)?;
        let _ = dattended.g_add_(&dx);
        let dnormalised = self.attention.backward(&attention, &dattended, &mut gradient.attention, heads)?;
        drop(attention);
        let mut dinput = self.norm_1.backward(&norm_1, &dnormalised, &mut gradient.norm_1)?;
        let _ = dinput.g_add_(&dattended);
        Ok(dinput)
    }
}
