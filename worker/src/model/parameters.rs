//! Names, shapes and the flat layout of GPT-2's parameters, and their initialisation.
//!
//! All parameters lie in one flat tensor, so that gradients, moments and buckets are ranges of it: see [`Layout`]. The rows of
//! the token embedding are padded to a multiple of 64 for the matrix units; padded rows stay zero, take no part in the softmax
//! and are never stored. The head shares the token embedding.
//!
//! Legend: B batch, T sequence, N = B T rows, C width, H heads, D = C / H head size, L layers, V vocabulary.
//! A flat tensor has P elements.

use std::collections::HashMap;
use std::ops::Range;

use common::config::{ModelConfig, Recompute};
use common::cost::VOCABULARY_MULTIPLE;
use tch::Tensor;

use super::block::Block;
use super::layer_norm::LayerNorm;
use super::linear::Linear;
use super::{attention::Attention, mlp::Mlp};
use crate::libtorch::random::Random;

/// One parameter in the flat layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Name in Hugging Face's GPT-2, such as `transformer.h.0.attn.c_attn.weight`.
    pub name: String,
    /// Shape without padding. Matrices are `[in, out]`, as OpenAI stored them.
    pub shape: Vec<u64>,
    /// First element in the flat tensor.
    pub start: usize,
    /// Number of elements without padding; they come first.
    pub elements: usize,
    /// Number of elements with padding.
    pub padded_elements: usize,
}

impl Parameter {
    /// Returns whether weight decay applies: to matrices only, including embeddings.
    pub fn is_decayed(&self) -> bool {
        self.shape.len() >= 2
    }

    /// Returns this parameter's part of a flat tensor, unpadded, in its shape.
    pub fn of(&self, flat: &Tensor) -> Tensor {
        let shape: Vec<i64> = self.shape.iter().map(|n| *n as i64).collect();
        flat.narrow(0, self.start as i64, self.elements as i64).view(shape.as_slice()) // [P] to this shape
    }

    /// Returns one past the parameter's last element in the flat tensor, padding included.
    pub fn end(&self) -> usize {
        self.start + self.padded_elements
    }

    /// Returns this parameter's part of a flat tensor with its padding, as rows of the last dimension.
    fn padded_of(&self, flat: &Tensor) -> Tensor {
        let part = flat.narrow(0, self.start as i64, self.padded_elements as i64); // [padded elements]
        match self.shape.as_slice() {
            [_, columns] => part.view([-1, *columns as i64]), // [rows padded, columns]
            _ => part,
        }
    }
}

/// The flat layout: every parameter and its place, in the order in which forward reads them.
///
/// ```text
/// token embedding | position embedding | block 0 ... block L-1 | final LayerNorm | padding
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Parameters in the order of Hugging Face's state dict, which is also that of their places.
    pub parameters: Vec<Parameter>,
    /// Length of the flat tensor, padding included.
    elements: usize,
}

/// Number of parameters in a block.
const BLOCK_PARAMETERS: usize = 12;
/// Number of parameters before the first block.
const EMBEDDINGS: usize = 2;

impl Layout {
    /// Creates the layout of a model of this size.
    pub fn new(config: &ModelConfig) -> Self {
        let (c, v) = (config.width, config.vocabulary);
        let (mut parameters, mut start) = (Vec::new(), 0);
        let mut push = |name: String, shape: &[u64], padded_rows: Option<u64>| {
            let elements = shape.iter().product::<u64>() as usize;
            let padded_elements = padded_rows.map_or(elements, |rows| (rows * shape[1]) as usize);
            parameters.push(Parameter { name, shape: shape.to_vec(), start, elements, padded_elements });
            start += padded_elements;
        };
        push("transformer.wte.weight".into(), &[v, c], Some(v.next_multiple_of(VOCABULARY_MULTIPLE)));
        push("transformer.wpe.weight".into(), &[config.context_tokens, c], None);
        for layer in 0..config.layers {
            let shapes: [(&str, &[u64]); BLOCK_PARAMETERS] = [
                ("ln_1.weight", &[c]),
                ("ln_1.bias", &[c]),
                ("attn.c_attn.weight", &[c, 3 * c]),
                ("attn.c_attn.bias", &[3 * c]),
                ("attn.c_proj.weight", &[c, c]),
                ("attn.c_proj.bias", &[c]),
                ("ln_2.weight", &[c]),
                ("ln_2.bias", &[c]),
                ("mlp.c_fc.weight", &[c, 4 * c]),
                ("mlp.c_fc.bias", &[4 * c]),
                ("mlp.c_proj.weight", &[4 * c, c]),
                ("mlp.c_proj.bias", &[c]),
            ];
            for (name, shape) in shapes {
                push(format!("transformer.h.{layer}.{name}"), shape, None);
            }
        }
        push("transformer.ln_f.weight".into(), &[c], None);
        push("transformer.ln_f.bias".into(), &[c], None);
        Layout { parameters, elements: start }
    }

    /// Pads the layout at its end, so that its length is a multiple of `multiple`.
    pub fn padded_to(self, multiple: usize) -> Self {
        Layout { elements: self.elements.next_multiple_of(multiple), ..self }
    }

    /// Returns the length of the flat tensor, padding included.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// Returns the range of block `layer`.
    pub fn block(&self, layer: usize) -> Range<usize> {
        let first = EMBEDDINGS + layer * BLOCK_PARAMETERS;
        self.parameters[first].start..self.parameters[first + BLOCK_PARAMETERS - 1].end()
    }

    /// Returns the range of both embeddings.
    pub fn embeddings(&self) -> Range<usize> {
        self.parameters[0].start..self.parameters[1].end()
    }

    /// Returns the range of the final LayerNorm.
    pub fn final_norm(&self) -> Range<usize> {
        let last = self.parameters.len() - 1;
        self.parameters[last - 1].start..self.parameters[last].end()
    }

    /// Returns how many of the first blocks compute the products of their weight gradients only after the embeddings'
    /// gradients.
    ///
    /// The token embedding is the largest parameter, and its gradient is complete only when backward has passed all
    /// layers, because the head and the input share it. Its exchange then runs beside the products that these blocks
    /// have put off, of enough blocks to equal it in size. That hides the exchange if all exchanges together take up
    /// to half of backward. If they take longer, the wait was measured to be equal with one block and with many.
    ///
    /// Until then, a block holds 16 `[N, C]`. Without recomputation it has kept that much anyway. With recomputation,
    /// only those blocks are put off that together hold no more than all blocks had kept: 10 `[N, C]` each, or just 1
    /// if whole blocks are computed again. At least one block is put off.
    pub fn late_blocks(&self, recompute: Recompute) -> usize {
        let layers = self.layers();
        let with_room = match recompute {
            Recompute::Block => layers / 16,
            Recompute::None | Recompute::GeluLayernorm => layers / 2,
        };
        self.embeddings().len().div_ceil(self.block(0).len()).min(with_room.max(1))
    }

    /// Returns the parts of the flat tensor, without padding, in the order in which backward completes their
    /// gradients.
    pub fn completion(&self, recompute: Recompute) -> Vec<Range<usize>> {
        let late = self.late_blocks(recompute);
        let blocks = |layers: Range<usize>| layers.rev().map(|layer| self.block(layer));
        let (first, last) = ([self.final_norm()], [self.embeddings()]);
        first.into_iter().chain(blocks(late..self.layers())).chain(last).chain(blocks(0..late)).collect()
    }

    /// Returns the parameters that `range` of the flat tensor touches, ascending, by index, each with its own part of
    /// the range, without padding.
    pub fn overlapping(&self, range: &Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
        let range = range.clone();
        self.parameters.iter().enumerate().filter_map(move |(i, p)| {
            let part = range.start.max(p.start)..range.end.min(p.start + p.elements);
            (!part.is_empty()).then_some((i, part))
        })
    }

    /// Divides `range` of the flat tensor into the longest ranges that are all decayed or all not, and says which.
    /// The padding at the very end is left out.
    pub fn runs(&self, range: &Range<usize>) -> Vec<(Range<usize>, bool)> {
        let mut runs: Vec<(Range<usize>, bool)> = Vec::new();
        for parameter in &self.parameters {
            let part = range.start.max(parameter.start)..range.end.min(parameter.end());
            match runs.last_mut() {
                _ if part.is_empty() => {}
                Some((run, is_decayed)) if *is_decayed == parameter.is_decayed() => run.end = part.end,
                _ => runs.push((part, parameter.is_decayed())),
            }
        }
        runs
    }

    /// Copies `values`, by name and unpadded, into a flat tensor. The caller must have checked that every parameter
    /// is there with its length.
    pub fn load(&self, flat: &Tensor, values: &HashMap<String, Vec<f32>>) {
        for parameter in &self.parameters {
            parameter.of(flat).view([-1]).copy_(&Tensor::from_slice(&values[&parameter.name]));
        }
    }

    fn layers(&self) -> usize {
        (self.parameters.len() - EMBEDDINGS - 2) / BLOCK_PARAMETERS
    }
}

/// Views of a flat tensor as the parts of the model, for weights or gradients.
pub(super) struct Weights {
    /// Token embedding, `[V padded, C]`.
    pub token_embedding: Tensor,
    /// Position embedding, `[context, C]`.
    pub position_embedding: Tensor,
    pub blocks: Vec<Block>,
    pub final_norm: LayerNorm,
}

impl Weights {
    pub fn new(layout: &Layout, flat: &Tensor) -> Self {
        let mut views = layout.parameters.iter().map(|p| p.padded_of(flat));
        let mut next = || views.next().unwrap_or_else(|| unreachable!("the layout has all parameters"));
        let (token_embedding, position_embedding) = (next(), next());
        let blocks = (0..layout.layers())
            .map(|_| Block {
                norm_1: LayerNorm { weight: next(), bias: next() },
                attention: Attention {
                    qkv: Linear { weight: next(), bias: next() },
                    projection: Linear { weight: next(), bias: next() },
                },
                norm_2: LayerNorm { weight: next(), bias: next() },
                mlp: Mlp {
                    expand: Linear { weight: next(), bias: next() },
                    projection: Linear { weight: next(), bias: next() },
                },
            })
            .collect();
        let final_norm = LayerNorm { weight: next(), bias: next() };
        Weights { token_embedding, position_embedding, blocks, final_norm }
    }
}

/// Initialises a flat tensor in place: weights N(0, 0.02), positions N(0, 0.01), residual projections scaled by
/// 1/sqrt(2 L), biases 0, LayerNorm weights 1.
///
/// The paper gives the residual scaling; the deviations are those of OpenAI's released code. Values depend on nothing
/// but `seed` and the sizes: they are drawn in host memory, where `flat` must be, parameter by parameter.
pub fn initialise(layout: &Layout, flat: &Tensor, config: &ModelConfig, seed: u64) {
    let random = Random::seeded(seed);
    for parameter in &layout.parameters {
        let mut part = parameter.of(flat); // [rows, columns] or [columns]
        let name = parameter.name.as_str();
        if !parameter.is_decayed() {
            let is_norm_weight = name.contains(".ln_") && name.ends_with(".weight");
            let _ = part.fill_(if is_norm_weight { 1.0 } else { 0.0 });
            continue;
        }
        let deviation = match name {
            "transformer.wpe.weight" => 0.01,
            _ if name.ends_with("c_proj.weight") => 0.02 / (2.0 * config.layers as f64).sqrt(),
            _ => 0.02,
        };
        // In place, because a copy of the token embedding would be the peak memory of small steps.
        random.fill_normal(&mut part, deviation);
    }
}
