//! GPT-2 (Radford et al., 2019), forward and backward written out: no autograd graph exists in training.
//!
//! Legend: B batch, T sequence, N = B T rows, C width, H heads, D = C / H head size, L layers, V vocabulary.
//! A flat tensor has P elements.
//!
//! - [`parameters`]: names, shapes and the flat layout; initialisation.
//! - [`embedding`]: maps tokens and positions to the residual stream.
//! - [`block`]: one decoder block, made of [`layer_norm`], [`attention`], [`mlp`] and the [`linear`] layer, with a
//!   diagram.
//! - [`head`]: final logits, loss and its gradient, in chunks of rows.
//! - [`backward`]: the context of a backward pass.
//! - [`packed`]: several sequences that begin alike in one forward pass, for evaluation.
//! - [`ops`]: operations that these parts share, in every precision and on every device; [`crate::kernels`] has the
//!   others.
//!
//! Each part has a forward, which keeps the values that its backward needs, and a backward, which puts the gradients
//! of its parameters in place and returns the gradient of its input. Backward reports which gradients are complete,
//! so that their exchange begins while it goes on.

pub mod attention;
pub mod backward;
pub mod block;
pub mod embedding;
pub mod head;
pub mod layer_norm;
pub mod linear;
pub mod mlp;
pub mod ops;
pub mod packed;
pub mod parameters;

use std::ops::Range;

use common::config::{ModelConfig, Precision, Recompute};
use tch::{Device, Kind, TchError, Tensor};

use backward::Backward;
use block::BlockCache;
use layer_norm::{LayerNormCache, Stream};
use ops::WeightGradient;
use parameters::{Layout, Weights};

use crate::kernels::attention::Shape;

/// Returns libtorch's kind for a precision.
pub fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::Float32 => Kind::Float,
        Precision::Bfloat16 => Kind::BFloat16,
    }
}

/// A GPT-2 and its weights.
pub struct Gpt2 {
    /// Sizes of the model.
    pub config: ModelConfig,
    /// Place of every parameter in a flat tensor.
    pub layout: Layout,
    /// All parameters, flat `[P]`.
    pub flat: Tensor,
    weights: Weights,
}

/// Callbacks during a pass through the model. `()` does nothing.
pub trait Hooks {
    /// Called before the weights in this range of the flat layout are read.
    fn before_use(&mut self, _range: Range<usize>) {}

    /// Called when forward has ended and backward begins.
    fn forward_ended(&mut self) {}

    /// Called when the gradients in this range of the flat layout will not change any more in this pass. The ranges
    /// and their order are those of [`Layout::completion`].
    fn complete(&mut self, _range: Range<usize>) {}
}

impl Hooks for () {}

/// Settings for the gradients of a batch.
#[derive(Debug, Clone, Copy)]
pub struct GradientOptions {
    /// Factor of the batch's summed loss, whose gradients are computed.
    pub scale: f64,
    /// Whether gradients are added to the present ones, or replace them.
    pub accumulate: bool,
    /// Values that backward computes again.
    pub recompute: Recompute,
}

/// Tokens of a micro batch.
pub struct Batch {
    /// Input tokens, `[B, T]`, i64.
    pub inputs: Tensor,
    /// Tokens that follow the inputs, `[N]`, i64.
    pub targets: Tensor,
}

impl Batch {
    /// Creates a batch of `batch` sequences of T + 1 tokens each, row by row, in host memory.
    pub fn new(tokens: &[i32], batch: usize) -> Self {
        Self::of(&Tensor::from_slice(tokens).view([batch as i64, -1])) // [B, T+1]
    }

    /// Creates a batch of sequences of T + 1 tokens each, `[B, T+1]`, of any integer kind, on any device.
    pub fn of(tokens: &Tensor) -> Self {
        let t = tokens.size()[1] - 1;
        Batch {
            inputs: tokens.narrow(1, 0, t).to_kind(Kind::Int64).contiguous(), // [B, T]
            targets: tokens.narrow(1, 1, t).to_kind(Kind::Int64).contiguous().view([-1]), // [N]
        }
    }
}

/// Values that forward keeps for backward.
struct Forward {
    blocks: Vec<BlockCache>,
    final_norm: LayerNormCache,
    /// Normalised stream that the head reads, `[N, C]`.
    normalised: Tensor,
}

impl Gpt2 {
    /// Creates a model with all parameters zero.
    pub fn zeros(config: &ModelConfig, kind: Kind, device: Device) -> Self {
        Self::with_layout(config, Layout::new(config), kind, device)
    }

    /// Creates a model with all parameters zero, in `layout`, which may have more padding at its end.
    pub fn with_layout(config: &ModelConfig, layout: Layout, kind: Kind, device: Device) -> Self {
        let flat = Tensor::zeros([layout.elements() as i64], (kind, device)); // [P]
        let weights = Weights::new(&layout, &flat);
        Gpt2 { config: config.clone(), layout, flat, weights }
    }

    /// Creates a model initialised as in the paper, from `seed`: see [`parameters::initialise`].
    pub fn initialised(config: &ModelConfig, kind: Kind, device: Device, seed: u64) -> Self {
        let model = Self::zeros(config, kind, device);
        parameters::initialise(&model.layout, &model.flat, config, seed);
        model
    }

    /// Returns the logits `[B, T, V]` of `inputs [B, T]`.
    pub fn logits(&self, inputs: &Tensor) -> Result<Tensor, TchError> {
        let (b, t) = inputs.size2()?;
        let normalised = self.normalised(inputs)?; // [N, C]
        let logits = ops::product_with_transpose(&normalised, &self.weights.token_embedding); // [N, V padded]
        Ok(logits.narrow(1, 0, self.vocabulary()).view([b, t, -1])) // [B, T, V]
    }

    /// Returns the sum of the cross-entropies of a batch, in nats: a float64 scalar.
    pub fn loss_sum(&self, batch: &Batch) -> Result<Tensor, TchError> {
        let normalised = self.normalised(&batch.inputs)?; // [N, C]
        head::loss_sum(&normalised, &batch.targets, &self.weights.token_embedding, self.vocabulary()) // []
    }

    /// Returns the stream that the head reads, `[N, C]`; keeps nothing for backward.
    fn normalised(&self, inputs: &Tensor) -> Result<Tensor, TchError> {
        let shape = self.shape(inputs)?;
        let w = &self.weights;
        let mut stream = self.embedded(inputs); // [N, C]
        for block in &w.blocks {
            stream = block.forward(stream, shape, Recompute::Block)?.0; // [N, C]
        }
        Ok(w.final_norm.forward(stream, false)?.0) // [N, C]
    }

    /// Puts the gradients of the batch's loss into `gradients`, flat `[P]`, as `options` say. Returns the summed
    /// loss, not scaled, as a float64 scalar.
    pub fn accumulate_gradients(
        &self,
        batch: &Batch,
        options: GradientOptions,
        gradients: &Tensor,
        hooks: &mut dyn Hooks,
    ) -> Result<Tensor, TchError> {
        let forward = self.forward(&batch.inputs, options.recompute, hooks)?;
        hooks.forward_ended();
        self.backward(forward, batch, options, gradients, hooks) // []
    }

    fn forward(&self, inputs: &Tensor, recompute: Recompute, hooks: &mut dyn Hooks) -> Result<Forward, TchError> {
        let (w, shape) = (&self.weights, self.shape(inputs)?);
        hooks.before_use(self.layout.embeddings());
        let mut stream = self.embedded(inputs); // [N, C]
        let mut blocks = Vec::with_capacity(w.blocks.len());
        for (layer, block) in w.blocks.iter().enumerate() {
            hooks.before_use(self.layout.block(layer));
            let (out, cache) = block.forward(stream, shape, recompute)?; // [N, C]
            stream = out;
            blocks.push(cache);
        }
        hooks.before_use(self.layout.final_norm());
        let (normalised, final_norm) = w.final_norm.forward(stream, false)?; // [N, C]
        Ok(Forward { blocks, final_norm, normalised })
    }

    /// Runs backward through all parts, last layer first. The products of the first blocks' weight gradients come at
    /// the very end, after the embeddings' gradients: see [`Layout::late_blocks`].
    fn backward(
        &self,
        forward: Forward,
        batch: &Batch,
        options: GradientOptions,
        gradients: &Tensor,
        hooks: &mut dyn Hooks,
    ) -> Result<Tensor, TchError> {
        let Forward { mut blocks, final_norm, normalised } = forward; // normalised [N, C]
        let (w, g) = (&self.weights, Weights::new(&self.layout, gradients));
        let (shape, accumulate) = (self.shape(&batch.inputs)?, options.accumulate);
        let mut backward = Backward { shape, accumulate, later: None };
        let embedding = (&w.token_embedding, &g.token_embedding); // [V padded, C] both
        // [], [N, C]
        let (loss, dnormalised) = head::loss_and_gradient(
            &normalised,
            &batch.targets,
            embedding,
            self.vocabulary(),
            options.scale,
            accumulate,
        )?;
        drop(normalised);
        let mut dx = w.final_norm.backward(&final_norm, &dnormalised, None, &g.final_norm, &backward)?; // [N, C]
        drop((final_norm, dnormalised));
        hooks.complete(self.layout.final_norm());
        let late_blocks = self.layout.late_blocks(options.recompute);
        let mut late = Vec::with_capacity(late_blocks);
        while let Some(cache) = blocks.pop() {
            let layer = blocks.len();
            backward.later = (layer < late_blocks).then(Vec::new);
            dx = w.blocks[layer].backward(cache, dx, &g.blocks[layer], &mut backward)?; // [N, C]
            match backward.later.take() {
                Some(products) => late.push((layer, products)),
                None => hooks.complete(self.layout.block(layer)),
            }
        }
        embedding::backward(&batch.inputs, &dx.rows, &g.token_embedding, &g.position_embedding, accumulate)?;
        drop(dx);
        hooks.complete(self.layout.embeddings());
        for (layer, products) in late {
            products.into_iter().try_for_each(WeightGradient::compute)?;
            hooks.complete(self.layout.block(layer));
        }
        Ok(loss)
    }

    /// Returns the start of the residual stream of `inputs [B, T]`.
    fn embedded(&self, inputs: &Tensor) -> Stream {
        // [V padded, C], [context, C]
        let (tokens, positions) = (&self.weights.token_embedding, &self.weights.position_embedding);
        Stream { x: embedding::forward(inputs, tokens, positions), branch: None } // [N, C]
    }

    fn shape(&self, inputs: &Tensor) -> Result<Shape, TchError> {
        let (batch, sequence) = inputs.size2()?;
        Ok(Shape { batch, sequence, heads: self.config.heads as i64 })
    }

    fn vocabulary(&self) -> i64 {
        self.config.vocabulary as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::places::{assert_close, places};
    use crate::libtorch::random::Random;

    const CONFIG: ModelConfig = ModelConfig { layers: 4, width: 128, heads: 2, context_tokens: 128, vocabulary: 4000 };

    /// Weights and the tokens of two batches.
    struct Drawn {
        weights: Tensor,
        batches: [Tensor; 2],
    }

    fn draw() -> Drawn {
        let weights = Gpt2::initialised(&CONFIG, Kind::Float, Device::Cpu, 3).flat;
        // Not as initialised, which would make biases 0.
        let random = Random::seeded(4);
        let noise = random.normal(&[weights.numel() as i64], (Kind::Float, Device::Cpu)) * 0.02;
        let batches = std::array::from_fn(|_| random.integers(0, 4000, &[3, 129], (Kind::Int64, Device::Cpu)));
        Drawn { weights: weights + noise, batches }
    }

    /// Returns the accumulated gradients of two batches, in bfloat16, by parameter.
    fn gradients(drawn: &Drawn, device: Device, recompute: Recompute) -> Vec<(String, Tensor)> {
        let mut model = Gpt2::zeros(&CONFIG, Kind::BFloat16, device);
        model.flat.copy_(&drawn.weights);
        let gradients = Tensor::zeros([model.flat.numel() as i64], (Kind::Float, device));
        for (tokens, accumulate) in drawn.batches.iter().zip([false, true]) {
            let options = GradientOptions { scale: 1.0 / 384.0, accumulate, recompute };
            let batch = Batch::of(&tokens.to_device(device));
            let _ = model.accumulate_gradients(&batch, options, &gradients, &mut ()).unwrap();
        }
        let of = |p: &parameters::Parameter| (p.name.clone(), p.of(&gradients).to_device(Device::Cpu));
        model.layout.parameters.iter().map(of).collect()
    }

    /// On a GPU, Convoy's kernels and cuDNN's attention take part; on a CPU, none of them.
    #[test]
    fn the_kernels_give_the_gradients_of_the_cpu() {
        let _no_grad = tch::no_grad_guard();
        let drawn = draw();
        let recomputed = gradients(&drawn, Device::Cpu, Recompute::Block);
        for ((name, kept), (_, again)) in gradients(&drawn, Device::Cpu, Recompute::None).iter().zip(&recomputed) {
            assert_eq!(kept, again, "{name}: computed again it has other bits");
        }
        if !places().iter().any(|(_, device)| device.is_cuda()) {
            return println!("skipped: no GPU here; scripts/gpu_check.sh runs it where there is one");
        }
        for recompute in [Recompute::None, Recompute::GeluLayernorm, Recompute::Block] {
            let [ours, theirs] = [Device::Cuda(0), Device::Cpu].map(|device| gradients(&drawn, device, recompute));
            for ((name, ours), (_, theirs)) in ours.iter().zip(&theirs) {
                println!("{recompute:?} {name}");
                assert_close(ours, theirs, 5e-2);
            }
        }
    }
}
