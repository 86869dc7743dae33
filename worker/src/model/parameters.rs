//! Names, shapes and the flat layout of GPT-2's parameters, and their initialisation.
//!
//! All parameters lie in one flat tensor, in the order of Hugging Face's state dict, so that gradients, moments and
//! buckets are ranges of it. The rows of the token embedding are padded to a multiple of 64 for the matrix units;
//! padded rows stay zero, take no part in the softmax and are never stored. The head shares the token embedding.

use std::collections::HashMap;
use std::ops::Range;

use common::config::ModelConfig;
use tch::{Device, Kind, Tensor};

use super::block::Block;
use super::layer_norm::LayerNorm;
use super::{attention::Attention, mlp::Mlp};

/// Rows of the token embedding are padded to a multiple of this.
const VOCABULARY_MULTIPLE: u64 = 64;

/// One parameter in the flat layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Hugging Face's name, such as `transformer.h.0.attn.c_attn.weight`.
    pub name: String,
    /// Shape without padding. Matrices are [in, out], as OpenAI stored them.
    pub shape: Vec<u64>,
    /// First element in the flat tensor.
    pub start: usize,
    /// Elements without padding; they come first.
    pub elements: usize,
    /// Elements with padding.
    pub padded_elements: usize,
}

impl Parameter {
    /// Whether weight decay applies: matrices only, embeddings among them.
    pub fn is_decayed(&self) -> bool {
        self.shape.len() >= 2
    }

    /// This parameter's part of a flat tensor, unpadded, in its shape.
    pub fn of(&self, flat: &Tensor) -> Tensor {
        let shape: Vec<i64> = self.shape.iter().map(|n| *n as i64).collect();
        flat.narrow(0, self.start as i64, self.elements as i64).view(shape.as_slice())
    }

    /// The same with its padding, as rows of the last dimension.
    fn padded_of(&self, flat: &Tensor) -> Tensor {
        let part = flat.narrow(0, self.start as i64, self.padded_elements as i64);
        match self.shape.as_slice() {
            [_, columns] => part.view([-1, *columns as i64]),
            _ => part,
        }
    }
}

/// The flat layout: every parameter with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// In order, without gaps.
    pub parameters: Vec<Parameter>,
}

/// Parameters of a block, in order.
const BLOCK_PARAMETERS: usize = 12;
/// Parameters before the first block.
const EMBEDDINGS: usize = 2;

impl Layout {
    /// The layout of a model of this size.
    pub fn new(config: &ModelConfig) -> Self {
        let (c, v) = (config.width, config.vocabulary);
        let mut layout = Layout { parameters: Vec::new() };
        let mut push = |name: String, shape: &[u64], padded_rows: Option<u64>| {
            let start = layout.elements();
            let elements = shape.iter().product::<u64>() as usize;
            let padded_elements = padded_rows.map_or(elements, |rows| (rows * shape[1]) as usize);
            layout.parameters.push(Parameter { name, shape: shape.to_vec(), start, elements, padded_elements });
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
        layout
    }

    /// Length of the flat tensor, padding included.
    pub fn elements(&self) -> usize {
        self.parameters.last().map_or(0, |p| p.start + p.padded_elements)
    }

    /// Where the parameters of block `layer` begin.
    pub fn block_start(&self, layer: usize) -> usize {
        self.parameters[EMBEDDINGS + layer * BLOCK_PARAMETERS].start
    }

    /// Where the final LayerNorm begins.
    pub fn final_norm_start(&self) -> usize {
        self.parameters[self.parameters.len() - 2].start
    }

    /// Copies `values`, by name and unpadded, into a flat tensor. Every parameter must be there with its length, which
    /// whoever read them has checked.
    pub fn load(&self, flat: &Tensor, values: &HashMap<String, Vec<f32>>) {
        for parameter in &self.parameters {
            parameter.of(flat).view([-1]).copy_(&Tensor::from_slice(&values[&parameter.name]));
        }
    }

    fn layers(&self) -> usize {
        (self.parameters.len() - EMBEDDINGS - 2) / BLOCK_PARAMETERS
    }

    /// Contiguous ranges of about `bucket_bytes` of f32 that cover the flat tensor, in the order in which backward
    /// completes them: from the end to the start, at the borders of parameters.
    pub fn buckets(&self, bucket_bytes: u64) -> Vec<Range<usize>> {
        let target = (bucket_bytes / 4) as usize;
        let mut buckets = Vec::new();
        let mut end = self.elements();
        for parameter in self.parameters.iter().rev() {
            if end - parameter.start >= target || parameter.start == 0 {
                buckets.push(parameter.start..end);
                end = parameter.start;
            }
        }
        buckets
    }
}

/// Views of a flat tensor as the parts of the model; of weights or of gradients.
pub(super) struct Weights {
    /// [V padded, C]
    pub token_embedding: Tensor,
    /// [context, C]
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
                    qkv_weight: next(),
                    qkv_bias: next(),
                    projection_weight: next(),
                    projection_bias: next(),
                },
                norm_2: LayerNorm { weight: next(), bias: next() },
                mlp: Mlp {
                    expand_weight: next(),
                    expand_bias: next(),
                    projection_weight: next(),
                    projection_bias: next(),
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
/// but `seed` and the sizes: they are drawn on the CPU, parameter by parameter.
pub fn initialise(layout: &Layout, flat: &Tensor, config: &ModelConfig, seed: u64) {
    tch::manual_seed(seed as i64);
    for parameter in &layout.parameters {
        let mut part = parameter.of(flat);
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
        let drawn = Tensor::randn(part.size(), (Kind::Float, Device::Cpu)) * deviation;
        part.copy_(&drawn);
    }
}
