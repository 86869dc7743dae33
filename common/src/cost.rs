//! Cost of a training step on one rank: memory by item, floating-point operations, bytes exchanged.
//!
//! All costs are formulas. The worker's tests compare activations and working memory in float32 with what is measured above
//! the loaded program. bfloat16 is measured on GPUs. On a CPU, where bfloat16 is for tests, it also takes float32 copies of
//! what is multiplied, which no formula counts. Nor do the formulas count the at most 19 MB into which a CPU's products pack
//! their operands.

use serde::{Deserialize, Serialize};

use crate::config::{ModelConfig, Precision, Recompute, RunConfig};
use crate::topology::WorldSize;

/// The token embedding is padded to a multiple of this number of rows.
pub const VOCABULARY_MULTIPLE: u64 = 64;

/// Parameters of a step's cost.
#[derive(Debug, Clone, PartialEq)]
pub struct StepCost {
    /// Size of the model.
    pub model: ModelConfig,
    /// Tokens per sequence, T.
    pub sequence_tokens: u64,
    /// Sequences in the largest micro batch of a rank, B.
    pub micro_sequences: u64,
    /// Number of ranks.
    pub world: WorldSize,
    /// Whether master weights and moments are divided over the ranks (ZeRO-1).
    pub is_divided: bool,
    /// Number format of weights and activations.
    pub precision: Precision,
    /// Number format of gradients.
    pub gradients: Precision,
    /// What the backward pass computes again.
    pub recompute: Recompute,
    /// Number of rows of logits that exist at once.
    pub head_rows: u64,
    /// Memory that one logit takes while its loss and gradient are computed, in bytes: 4 on a CPU.
    pub logit_bytes: u64,
}

/// Memory of one rank by item, in bytes, at the peak of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Weights used in the computation.
    pub weights: u64,
    /// Float32 weights, if the weights used in the computation have less precision.
    pub master_weights: u64,
    /// Gradients.
    pub gradients: u64,
    /// Both moments of AdamW.
    pub moments: u64,
    /// Activations that the forward pass keeps for the backward pass, over all layers.
    pub activations: u64,
    /// Peak memory of the backward pass besides activations: logits, or the gradients within a block.
    pub working: u64,
}

impl Memory {
    /// Returns the sum of all items, in bytes.
    pub fn total(&self) -> u64 {
        let Memory { weights, master_weights, gradients, moments, activations, working } = self;
        weights + master_weights + gradients + moments + activations + working
    }
}

impl StepCost {
    /// Returns the parameters of a step of `config` on `world` ranks, with `head_rows` rows of logits at once, of
    /// `logit_bytes` each.
    pub fn of(config: &RunConfig, world: WorldSize, head_rows: u64, logit_bytes: u64) -> Self {
        let share = config.batch.global_sequences.div_ceil(u64::from(world.get()));
        StepCost {
            model: config.model.clone(),
            sequence_tokens: config.batch.sequence_tokens,
            micro_sequences: config.batch.micro_sequences.min(share),
            world,
            is_divided: config.parallel.zero == 1,
            precision: config.train.precision,
            gradients: config.train.gradients,
            recompute: config.train.recompute,
            head_rows,
            logit_bytes,
        }
    }

    /// Returns the number of elements in the flat layout, including the padding of the vocabulary.
    pub fn elements(&self) -> u64 {
        let ModelConfig { width, vocabulary, .. } = self.model;
        self.model.parameters() + (vocabulary.next_multiple_of(VOCABULARY_MULTIPLE) - vocabulary) * width
    }

    /// Returns the memory by item.
    pub fn memory(&self) -> Memory {
        let elements = self.elements();
        let owned = if self.is_divided { elements.div_ceil(u64::from(self.world.get())) } else { elements };
        Memory {
            weights: elements * self.precision.bytes(),
            master_weights: if self.precision == Precision::Float32 { 0 } else { 4 * owned },
            gradients: elements * self.gradients.bytes(),
            moments: 8 * owned,
            activations: self.activations(),
            working: self.working(),
        }
    }

    /// Returns the number of tokens in a micro batch, N = B T.
    fn tokens(&self) -> u64 {
        self.micro_sequences * self.sequence_tokens
    }

    /// Returns the size of one `[N, C]` tensor in bytes.
    fn stream(&self) -> u64 {
        self.tokens() * self.model.width * self.precision.bytes()
    }

    /// Returns the memory that all parts of a block keep, in bytes, without what is computed again.
    fn block_parts(&self, recompute: Recompute) -> u64 {
        // In units of [N, C]: input 1; queries, keys and values 3; attended 1; its sum with the input 1; before GELU 4. If
        // nothing is computed again, also the outputs of both norms 2, and after GELU 4.
        let units = if recompute == Recompute::None { 16 } else { 10 };
        // In float32: means and inverse deviations of two norms, and each head's log-sum-exp.
        let per_row = 4 * (4 + self.model.heads);
        units * self.stream() + self.tokens() * per_row
    }

    fn activations(&self) -> u64 {
        let blocks = match self.recompute {
            Recompute::Block => self.model.layers * self.stream(),
            parts => self.model.layers * self.block_parts(parts),
        };
        // The input of the head, and that of the final norm.
        blocks + 2 * self.stream()
    }

    fn working(&self) -> u64 {
        let rows = self.head_rows.min(self.tokens());
        let logits = rows * self.model.vocabulary.next_multiple_of(VOCABULARY_MULTIPLE) * self.logit_bytes;
        // The gradient of the head's input.
        let head = logits + self.stream();
        // In units of [N, C]: the gradients of the stream 1, after GELU 4, before it 4. Activations after GELU, where kept,
        // are freed by then, and so are the head's two streams. Blocks that postpone products hold more, but other blocks'
        // activations are freed by then.
        let in_block = match self.recompute {
            Recompute::None => 5 * self.stream(),
            Recompute::GeluLayernorm => 10 * self.stream(),
            Recompute::Block => 5 * self.stream() + self.block_parts(Recompute::None),
        };
        head.max(in_block.saturating_sub(2 * self.stream()))
    }

    /// Returns the floating-point operations of a step of `global_sequences` over all ranks, without what is computed again.
    pub fn flops(&self, global_sequences: u64) -> f64 {
        self.model.flops_per_token(self.sequence_tokens) * (global_sequences * self.sequence_tokens) as f64
    }

    /// Returns the bytes that each rank sends, and receives, in a step, with algorithms that send no more than they must.
    pub fn exchanged_bytes(&self) -> u64 {
        let others = u64::from(self.world.get()) - 1;
        let share = |bytes: u64| (u128::from(bytes) * u128::from(others) / u128::from(self.world.get())) as u64;
        let gradients = self.elements() * self.gradients.bytes();
        let back = if self.is_divided { self.elements() * self.precision.bytes() } else { gradients };
        share(gradients) + share(back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(preset: &str) -> StepCost {
        StepCost {
            model: ModelConfig::preset(preset).unwrap(),
            sequence_tokens: 1024,
            micro_sequences: 16,
            world: WorldSize::new(8).unwrap(),
            is_divided: true,
            precision: Precision::Bfloat16,
            gradients: Precision::Float32,
            recompute: Recompute::None,
            head_rows: 8192,
            logit_bytes: 8,
        }
    }

    #[test]
    fn what_is_divided_shrinks_and_what_is_not_stays() {
        let divided = cost("gpt2-1558m");
        let whole = StepCost { is_divided: false, ..divided.clone() };
        let (d, w) = (divided.memory(), whole.memory());
        assert_eq!((d.weights, d.gradients, d.activations), (w.weights, w.gradients, w.activations));
        assert_eq!(d.moments, w.moments.div_ceil(8));
        assert_eq!(w.moments, 8 * divided.elements());
        assert_eq!(w.master_weights, 4 * divided.elements());
    }

    #[test]
    fn computing_again_takes_less_memory() {
        for preset in ["gpt2-124m", "gpt2-355m", "gpt2-774m", "gpt2-1558m"] {
            let total = |recompute| StepCost { recompute, ..cost(preset) }.memory().total();
            assert!(total(Recompute::Block) < total(Recompute::GeluLayernorm), "{preset}");
            assert!(total(Recompute::GeluLayernorm) < total(Recompute::None), "{preset}");
        }
    }

    #[test]
    fn an_all_reduce_moves_everything_twice() {
        let cost = StepCost { is_divided: false, ..cost("gpt2-124m") };
        assert_eq!(cost.exchanged_bytes(), 2 * (4 * cost.elements() * 7 / 8));
        assert_eq!(StepCost { world: WorldSize::ONE, ..cost }.exchanged_bytes(), 0);
    }
}
