//! `[train]`: length, precision and memory of training.

use serde::{Deserialize, Serialize};

use super::section::Section;

/// Section `[train]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainConfig {
    /// Number of steps of the whole run.
    pub max_steps: u64,
    /// Number format in which weights and activations are computed. Master weights, moments, reductions and the loss are
    /// float32 or wider in any case. Default `float32`.
    pub precision: Precision,
    /// Number format in which gradients are accumulated and exchanged. Default `float32`.
    pub gradients: Precision,
    /// Rounds float32 master weights to bfloat16 up or down at random, so that small updates count on average. The draws
    /// depend on the seed, the step and the element alone. Default false: rounds to the nearest.
    pub stochastic_rounding: bool,
    /// What the forward pass does not keep and the backward pass computes again. Default `none`.
    pub recompute: Recompute,
    /// Makes a run on a GPU reproducible bit by bit, as it always is on a CPU. Costs a sixth of the speed of 124M
    /// (docs/gpu.md). Default false.
    pub deterministic: bool,
}

/// Values of `train.precision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// IEEE single precision.
    Float32,
    /// Upper half of a float32: its range, with 8 bits of precision. On a CPU, operands and results are rounded to bfloat16
    /// but computed in float32, which is for tests.
    Bfloat16,
}

impl Precision {
    /// Returns the size of a number in bytes.
    pub fn bytes(self) -> u64 {
        match self {
            Precision::Float32 => 4,
            Precision::Bfloat16 => 2,
        }
    }
}

/// Values of `train.recompute`: saves memory for activations at the cost of more work in the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// Computes nothing again.
    None,
    /// Computes the outputs of GELU and LayerNorm again, which costs little.
    GeluLayernorm,
    /// Computes every block again from its input: about a third more work, and the memory of one block.
    Block,
}

impl TrainConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let train = TrainConfig {
            max_steps: section.required("max_steps", "give the number of steps of the whole run"),
            precision: section.or("precision", Precision::Float32),
            gradients: section.or("gradients", Precision::Float32),
            stochastic_rounding: section.or("stochastic_rounding", false),
            recompute: section.or("recompute", Recompute::None),
            deterministic: section.or("deterministic", false),
        };
        let rounds = train.precision == Precision::Bfloat16;
        section.require(
            rounds || train.gradients == Precision::Float32,
            "gradients",
            "\"bfloat16\"",
            "needs precision = \"bfloat16\"",
        );
        section.require(
            rounds || !train.stochastic_rounding,
            "stochastic_rounding",
            true,
            "needs precision = \"bfloat16\"",
        );
        train
    }
}
