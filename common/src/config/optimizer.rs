//! `[optimizer]`: AdamW and its schedule.

use serde::{Deserialize, Serialize};

use super::section::Section;

/// Longest warm-up that is a default, in steps: that of llm.c's recipes.
const LONGEST_DEFAULT_WARMUP: u64 = 700;

/// Returns the warm-up of a schedule of `decay_steps` steps for which the config gives none.
pub(super) fn default_warmup(decay_steps: u64) -> u64 {
    (decay_steps / 10).min(LONGEST_DEFAULT_WARMUP)
}

/// Section `[optimizer]`. Defaults are the GPT-2 recipe of llm.c.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OptimizerConfig {
    /// Learning rate at the end of the warm-up.
    pub peak_learning_rate: f64,
    /// Final learning rate as a fraction of the peak. Default 0.
    pub final_fraction: f64,
    /// Steps of the linear warm-up; 0 for none. Default a tenth of `decay_steps`, but at most [`LONGEST_DEFAULT_WARMUP`].
    pub warmup_steps: Option<u64>,
    /// Step at which the cosine decay ends. Default `train.max_steps`.
    pub decay_steps: Option<u64>,
    /// Decay of the first moment. Default 0.9.
    pub beta1: f64,
    /// Decay of the second moment. Default 0.95.
    pub beta2: f64,
    /// Added to the denominator. Default 1e-8.
    pub epsilon: f64,
    /// Decoupled weight decay, on matrices only. Default 0.1.
    pub weight_decay: f64,
    /// Norm to which the gradients of a step are clipped; 0 disables clipping. Default 1.
    pub clip_norm: f64,
    /// Skip an update whose gradient norm lies this many standard deviations above the mean of the last 128 steps; 0
    /// disables. Default 0.
    pub skip_z_score: f64,
    /// What happens when a gradient norm is not finite, or an outlier. Default `skip`.
    pub on_bad_norm: OnBadNorm,
}

/// Values of `optimizer.on_bad_norm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadNorm {
    /// Skips the update and goes on. Ten skipped updates in a row end the run.
    Skip,
    /// Skips the update and ends the run.
    Stop,
}

impl OptimizerConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let config = OptimizerConfig {
            peak_learning_rate: section.required("peak_learning_rate", "6e-4 suits gpt2-124m"),
            final_fraction: section.or("final_fraction", 0.0),
            warmup_steps: section.optional("warmup_steps"),
            decay_steps: section.optional("decay_steps"),
            beta1: section.or("beta1", 0.9),
            beta2: section.or("beta2", 0.95),
            epsilon: section.or("epsilon", 1e-8),
            weight_decay: section.or("weight_decay", 0.1),
            clip_norm: section.or("clip_norm", 1.0),
            skip_z_score: section.or("skip_z_score", 0.0),
            on_bad_norm: section.or("on_bad_norm", OnBadNorm::Skip),
        };
        for (key, value) in [("peak_learning_rate", config.peak_learning_rate), ("epsilon", config.epsilon)] {
            section.require(value > 0.0, key, value, "must be above 0");
        }
        for (key, value) in [("beta1", config.beta1), ("beta2", config.beta2)] {
            section.require(value < 1.0, key, value, "must be below 1");
        }
        config
    }
}
