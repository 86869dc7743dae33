//! `[train]`: how long, and in which precision.

use serde::{Deserialize, Serialize};

use super::section::Section;

/// `[train]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainConfig {
    /// Steps after which the run is done.
    pub max_steps: u64,
    /// What weights and activations are computed in. Default `float32`. Master weights, moments, reductions and the loss
    /// are float32 or more in any case.
    pub precision: Precision,
    /// What gradients are accumulated and exchanged in. Default `float32`.
    pub gradients: Precision,
    /// Whether float32 master weights are rounded to bfloat16 up or down at random, so that small updates count on
    /// average; the draws depend on the seed, the step and the element alone. Default false: to the nearest.
    pub stochastic_rounding: bool,
    /// What forward does not keep for backward, which computes it again. Default `none`.
    pub recompute: Recompute,
    /// Whether a run gives the same bits each time on a GPU as it always does on a CPU; costs a sixth of
    /// the speed of 124M (docs/gpu.md). Default false.
    pub deterministic: bool,
}

/// `train.precision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// IEEE single precision.
    Float32,
    /// The upper half of a float32: its range, and 8 bits of precision. On a CPU operands and results are rounded to it, but
    /// computed with in float32: for tests.
    Bfloat16,
}

impl Precision {
    /// Size of a number.
    pub fn bytes(self) -> u64 {
        match self {
            Precision::Float32 => 4,
            Precision::Bfloat16 => 2,
        }
    }
}

/// `train.recompute`: less memory for activations against more work in backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// Nothing is computed again.
    None,
    /// The outputs of GELU and LayerNorm, which cost little.
    GeluLayernorm,
    /// Every block from its input: about a third more work, and the memory of one block.
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
