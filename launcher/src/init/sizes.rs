//! Sizes of models that [`super::plan`] chooses from, from small to large.

use common::config::ModelConfig;

/// Size of a model, without its vocabulary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// Number of decoder blocks.
    pub layers: u64,
    /// Width of the residual stream.
    pub width: u64,
    /// Number of attention heads.
    pub heads: u64,
    /// Longest sequence, in tokens, where the text is long enough.
    pub context_tokens: u64,
    /// Learning rate at the end of the warm-up: wide models need low ones. For GPT-2's own sizes it is llm.c's.
    pub peak_learning_rate: f64,
}

const fn size(layers: u64, width: u64, heads: u64, context_tokens: u64, peak_learning_rate: f64) -> Size {
    Size { layers, width, heads, context_tokens, peak_learning_rate }
}

/// All sizes. The first is that of the demo, and the last four are GPT-2's.
pub const SIZES: [Size; 10] = [
    size(3, 64, 2, 128, 4e-3),
    size(4, 128, 4, 256, 3e-3),
    size(6, 192, 6, 256, 2e-3),
    size(6, 256, 8, 256, 1.5e-3),
    size(6, 384, 6, 512, 1e-3),
    size(8, 512, 8, 512, 8e-4),
    size(12, 768, 12, 1024, 6e-4),
    size(24, 1024, 16, 1024, 3e-4),
    size(36, 1280, 20, 1024, 2.5e-4),
    size(48, 1600, 25, 1024, 2e-4),
];

impl Size {
    /// Returns the parameters of the blocks, which is what a model learns with besides its embeddings.
    pub fn block_parameters(&self) -> u64 {
        self.layers * (12 * self.width * self.width + 13 * self.width)
    }

    /// Returns the model of this size for sequences of `context_tokens` tokens of a vocabulary.
    pub fn model(&self, context_tokens: u64, vocabulary: u64) -> ModelConfig {
        ModelConfig { layers: self.layers, width: self.width, heads: self.heads, context_tokens, vocabulary }
    }
}
