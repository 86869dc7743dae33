//! Config of a run: all its sections together, and what follows from several of them.

use serde::Serialize;

use super::batch::BatchConfig;
use super::checkpoint::CheckpointConfig;
use super::data::DataConfig;
use super::evaluation::EvaluationConfig;
use super::kubernetes::KubernetesConfig;
use super::launch::LaunchConfig;
use super::metrics::MetricsConfig;
use super::model::ModelConfig;
use super::optimizer::{OptimizerConfig, default_warmup};
use super::parallel::ParallelConfig;
use super::run::RunSection;
use super::storage::StorageConfig;
use super::train::TrainConfig;
use crate::batch_plan::BatchPlan;
use crate::lr_schedule::LrSchedule;
use crate::secrets::without_secrets;

/// Config of a training run, an evaluation or a sample, section by section as in the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "each section's type says what it is")]
pub struct RunConfig {
    pub run: RunSection,
    pub model: ModelConfig,
    pub data: DataConfig,
    pub batch: BatchConfig,
    pub optimizer: OptimizerConfig,
    pub train: TrainConfig,
    pub parallel: ParallelConfig,
    pub checkpoint: CheckpointConfig,
    pub evaluation: EvaluationConfig,
    pub launch: LaunchConfig,
    pub kubernetes: KubernetesConfig,
    pub metrics: MetricsConfig,
    pub storage: StorageConfig,
}

impl RunConfig {
    pub(super) const SECTIONS: [&str; 13] = [
        "run",
        "model",
        "data",
        "batch",
        "optimizer",
        "train",
        "parallel",
        "checkpoint",
        "evaluation",
        "launch",
        "kubernetes",
        "metrics",
        "storage",
    ];

    /// Returns the config as TOML, with every default filled in. [`RawConfig::parse`](super::RawConfig::parse) reads it back
    /// as an equal config.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_else(|e| unreachable!("a config is TOML: {e}"))
    }

    /// Returns [`RunConfig::to_toml`] as the run folder stores it: web addresses without their queries. A query may be a
    /// signature that opens the data to everyone who reads the folder or a copy of a checkpoint.
    pub fn to_stored_toml(&self) -> String {
        without_secrets(&self.to_toml()).into_owned()
    }

    /// Returns the division of the global batch.
    pub fn batch_plan(&self) -> BatchPlan {
        BatchPlan {
            global_sequences: self.batch.global_sequences,
            micro_sequences: self.batch.micro_sequences,
            sequence_tokens: self.batch.sequence_tokens,
        }
    }

    /// Returns the learning-rate schedule.
    pub fn lr_schedule(&self) -> LrSchedule {
        LrSchedule {
            peak: self.optimizer.peak_learning_rate,
            final_fraction: self.optimizer.final_fraction,
            warmup_steps: self.warmup_steps(),
            decay_steps: self.decay_steps(),
        }
    }

    pub(super) fn decay_steps(&self) -> u64 {
        self.optimizer.decay_steps.unwrap_or(self.train.max_steps)
    }

    pub(super) fn warmup_steps(&self) -> u64 {
        self.optimizer.warmup_steps.unwrap_or_else(|| default_warmup(self.decay_steps()))
    }

    /// Fills in the defaults that depend on other sections.
    pub(super) fn resolved(mut self) -> Self {
        self.optimizer.warmup_steps = Some(self.warmup_steps());
        self.optimizer.decay_steps = Some(self.decay_steps());
        self
    }
}
