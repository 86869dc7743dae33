//! GPT-2 (Radford et al., 2019), forward and backward written out: no autograd graph exists in training.
//!
//! Legend of every shape here: B batch, T sequence, N = B T rows, C width, H heads, D = C / H, L layers, V vocabulary.
//!
//! - [`parameters`]: names, shapes and the flat layout; initialisation.
//! - [`embedding`]: tokens and positions to the residual stream.
//! - [`block`]: one decoder block, made of [`layer_norm`], [`attention`] and [`mlp`].
//! - [`head`]: final logits, loss and its gradient, in chunks of rows.
//!
//! Each part has a forward that keeps what its backward needs, and a backward that adds to the gradients in place and
//! returns the gradient of its input. Gradients are complete from the end of the flat layout to its start, and backward
//! says how far they are, so that their exchange begins while it goes on.

pub mod attention;
pub mod block;
pub mod embedding;
pub mod head;
pub mod layer_norm;
pub mod mlp;
pub mod parameters;

use common::config::ModelConfig;
use tch::{Device, Kind, TchError, Tensor};

use block::BlockCache;
use layer_norm::LayerNormCache;
use parameters::{Layout, Weights};

/// A GPT-2 and its weights.
pub struct Gpt2 {
    /// Its size.
    pub config: ModelConfig,
    /// Where every parameter lies in a flat tensor.
    pub layout: Layout,
    /// All parameters, flat [P].
    pub flat: Tensor,
    weights: Weights,
}

/// Tokens of a micro batch.
pub struct Batch {
    /// [B, T], i64.
    pub inputs: Tensor,
    /// The tokens that follow them, [N], i64.
    pub targets: Tensor,
}

impl Batch {
    /// From `batch` sequences of T + 1 tokens each, row by row.
    pub fn new(tokens: &[i64], batch: usize) -> Self {
        let all = Tensor::from_slice(tokens).view([batch as i64, -1]); // [B, T+1]
        let t = all.size()[1] - 1;
        Batch {
            inputs: all.narrow(1, 0, t).contiguous(),             // [B, T]
            targets: all.narrow(1, 1, t).contiguous().view([-1]), // [N]
        }
    }
}

/// What forward keeps for backward.
struct Forward {
    blocks: Vec<BlockCache>,
    final_norm: LayerNormCache,
    /// The normalised stream that the head reads, [N, C].
    normalised: Tensor,
}

impl Gpt2 {
    /// A model with all parameters zero.
    pub fn zeros(config: &ModelConfig, kind: Kind, device: Device) -> Self {
        let layout = Layout::new(config);
        let flat = Tensor::zeros([layout.elements() as i64], (kind, device));
        let weights = Weights::new(&layout, &flat);
        Gpt2 { config: config.clone(), layout, flat, weights }
    }

    /// A model initialised as the paper says, from `seed`: see [`parameters::initialise`].
    pub fn initialised(config: &ModelConfig, kind: Kind, device: Device, seed: u64) -> Self {
        let model = Self::zeros(config, kind, device);
        parameters::initialise(&model.layout, &model.flat, config, seed);
        model
    }

    /// The logits [B, T, V] of `inputs` [B, T].
    pub fn logits(&self, inputs: &Tensor) -> Result<Tensor, TchError> {
        let (b, t) = inputs.size2()?;
        let forward = self.forward(inputs)?;
        Ok(head::logits(&forward.normalised, &self.weights.token_embedding)
            .narrow(1, 0, self.config.vocabulary as i64)
            .view([b, t, -1]))
    }

    /// The sum of the cross-entropies of a batch, in nats: a float64 scalar.
    pub fn loss_sum(&self, batch: &Batch) -> Result<Tensor, TchError> {
        let forward = self.forward(&batch.inputs)?;
        Ok(head::loss_sum(&forward.normalised, &batch.targets, &self.weights.token_embedding, self.vocabulary()))
    }

    /// Adds the gradient of `scale` times the batch's summed loss to `gradients`, flat [P], and returns that sum (not
    /// scaled) as a float64 scalar.
    ///
    /// `complete_from(i)` is called as backward proceeds: elements from i on will not change any more in this call.
    pub fn accumulate_gradients(
        &self,
        batch: &Batch,
        scale: f64,
        gradients: &Tensor,
        complete_from: &mut dyn FnMut(usize),
    ) -> Result<Tensor, TchError> {
        let w = &self.weights;
        let mut g = Weights::new(&self.layout, gradients);
        let forward = self.forward(&batch.inputs)?;
        let (loss, dnormalised) = head::loss_and_gradient(
            &forward.normalised,
            &batch.targets,
            &w.token_embedding,
            &mut g.token_embedding,
            self.vocabulary(),
            scale,
        );
        let mut dx = w.final_norm.backward(&forward.final_norm, &dnormalised, &mut g.final_norm)?; // [N, C]
        complete_from(self.layout.final_norm_start());
        for (layer, cache) in forward.blocks.into_iter().enumerate().rev() {
            dx = w.blocks[layer].backward(cache, dx, &mut g.blocks[layer], self.heads())?;
            complete_from(self.layout.block_start(layer));
        }
        embedding::backward(&batch.inputs, &dx, &mut g.token_embedding, &mut g.position_embedding);
        complete_from(0);
        Ok(loss)
    }

    fn forward(&self, inputs: &Tensor) -> Result<Forward, TchError> {
        let w = &self.weights;
        let mut x = embedding::forward(inputs, &w.token_embedding, &w.position_embedding); // [N, C]
        let mut blocks = Vec::with_capacity(w.blocks.len());
        for block in &w.blocks {
            let (out, cache) = block.forward(x, inputs.size2()?, self.heads())?;
            x = out;
            blocks.push(cache);
        }
        let (normalised, final_norm) = w.final_norm.forward(x)?;
        Ok(Forward { blocks, final_norm, normalised })
    }

    fn heads(&self) -> i64 {
        self.config.heads as i64
    }

    fn vocabulary(&self) -> i64 {
        self.config.vocabulary as i64
    }
}
