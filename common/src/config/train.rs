//! `[train]`: how long, and in which precision.

use serde::{Deserialize, Serialize};

use super::section::Section;

/// `[train]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainConfig {
    /// Steps after which the run is done.
    pub max_steps: u64,
    /// What is computed in. Default `float32`, the only one today.
    pub precision: Precision,
}

/// `train.precision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Weights, activations and gradients in float32.
    Float32,
}

impl TrainConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let train = TrainConfig {
            max_steps: section.required("max_steps", "give the number of steps of the whole run"),
            precision: section.or("precision", Precision::Float32),
        };
        section.require(train.max_steps > 0, "max_steps", train.max_steps, "must be at least 1");
        train
    }
}
