//! A TOML file and `--set section.key=value` overrides become one validated [`RunConfig`] or [`PrepareJobConfig`].
//!
//! One file per section. Reading never stops at the first fault: every unknown key, wrong type, missing value and
//! impossible combination is collected, and [`ConfigError::Faults`] shows them all, each with its key path, the value
//! and a hint. What is read here is resolved: every default is filled in, so [`RunConfig::to_toml`] says everything
//! that a run did, and reads back as the same config.

mod batch;
mod bounds;
pub mod change;
mod checkpoint;
mod combinations;
mod data;
mod error;
mod evaluation;
pub mod hosts;
pub mod kubernetes;
mod launch;
mod metrics;
mod model;
mod optimizer;
mod parallel;
mod prepare;
mod run;
mod section;
mod storage;
mod train;

use std::path::Path;

use serde::Serialize;
use toml::Table;

pub use batch::BatchConfig;
pub use bounds::RUN_SEQUENCES;
pub use change::ConfigChange;
pub use checkpoint::{CheckpointConfig, OnCorrupt, Retention, WhenBusy};
pub use data::{DataConfig, DataSource};
pub use error::{ConfigError, Fault};
pub use evaluation::EvaluationConfig;
pub use kubernetes::KubernetesConfig;
pub use launch::{Backend, Bind, LaunchConfig};
pub use metrics::MetricsConfig;
pub use model::ModelConfig;
pub use optimizer::{OnBadNorm, OptimizerConfig};
pub use parallel::{CollectivesKind, ParallelConfig};
pub use prepare::{OnBadDocument, PrepareConfig};
pub use run::{DeviceKind, RunSection};
pub use storage::StorageConfig;
pub use train::{Precision, Recompute, TrainConfig};

use crate::secrets::without_secrets;
use section::Sections;

/// Everything a training run, an evaluation or a sample needs to know. Section by section, as in the file.
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

/// Everything a prepare job needs to know.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "each section's type says what it is")]
pub struct PrepareJobConfig {
    pub prepare: PrepareConfig,
    pub launch: LaunchConfig,
    pub kubernetes: KubernetesConfig,
    pub storage: StorageConfig,
}

/// A config file and its overrides, parsed as TOML but not yet read.
#[derive(Debug, Clone)]
pub struct RawConfig {
    origin: String,
    table: Table,
}

impl RawConfig {
    /// Reads the file at `path` and applies `overrides`, each `section.key=value`, later ones winning.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let content =
            std::fs::read(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse_bytes(&path.display().to_string(), &content, overrides)
    }

    /// The same from the bytes of a file; `origin` names it in errors.
    pub fn parse_bytes(origin: &str, content: &[u8], overrides: &[String]) -> Result<Self, ConfigError> {
        let text = std::str::from_utf8(content).map_err(|error| {
            let line = 1 + content[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            ConfigError::Syntax { origin: origin.to_owned(), message: format!("line {line} is not UTF-8: {error}") }
        })?;
        Self::parse(origin, text, overrides)
    }

    /// The same from a string.
    pub fn parse(origin: &str, text: &str, overrides: &[String]) -> Result<Self, ConfigError> {
        let mut table: Table = toml::from_str(text)
            .map_err(|e| (origin.to_owned(), without_secrets(&e.to_string()).into_owned()))
            .map_err(|(origin, message)| ConfigError::Syntax { origin, message })?;
        for given in overrides {
            let refused = || ConfigError::Override { given: without_secrets(given).into_owned() };
            apply_override(&mut table, given).ok_or_else(refused)?;
        }
        Ok(RawConfig { origin: origin.to_owned(), table })
    }

    /// The file with its overrides, as TOML.
    pub fn to_toml(&self) -> String {
        self.table.to_string()
    }

    /// Whether this is the config of a prepare job, and not of a run.
    pub fn is_of_prepare_job(&self) -> bool {
        self.table.contains_key("prepare") && !self.table.contains_key("run")
    }

    /// Reads the sections of a run.
    pub fn run(self) -> Result<RunConfig, ConfigError> {
        let mut sections = Sections::new(self.table);
        let config = RunConfig {
            run: sections.read("run", RunSection::read),
            model: sections.read("model", ModelConfig::read),
            data: sections.read("data", DataConfig::read),
            batch: sections.read("batch", BatchConfig::read),
            optimizer: sections.read("optimizer", OptimizerConfig::read),
            train: sections.read("train", TrainConfig::read),
            parallel: sections.read("parallel", ParallelConfig::read),
            checkpoint: sections.read("checkpoint", CheckpointConfig::read),
            evaluation: sections.read("evaluation", EvaluationConfig::read),
            launch: sections.read("launch", LaunchConfig::read),
            kubernetes: sections.read("kubernetes", KubernetesConfig::read),
            metrics: sections.read("metrics", MetricsConfig::read),
            storage: sections.read("storage", StorageConfig::read),
        };
        let mut faults = sections.finish(&["prepare"]);
        faults.extend(config.impossible_combinations(&faults));
        match faults.is_empty() {
            true => Ok(config.resolved()),
            false => Err(ConfigError::Faults { origin: self.origin, faults }),
        }
    }

    /// Reads the sections of a prepare job.
    pub fn prepare(self) -> Result<PrepareJobConfig, ConfigError> {
        let mut sections = Sections::new(self.table);
        let config = PrepareJobConfig {
            prepare: sections.read("prepare", PrepareConfig::read),
            launch: sections.read("launch", LaunchConfig::read),
            kubernetes: sections.read("kubernetes", KubernetesConfig::read),
            storage: sections.read("storage", StorageConfig::read),
        };
        let faults = sections.finish(&RunConfig::SECTIONS);
        match faults.is_empty() {
            true => Ok(config),
            false => Err(ConfigError::Faults { origin: self.origin, faults }),
        }
    }
}

/// Sets `section.key` in `table`. The value is TOML, or the text itself where it is not. `None` if malformed.
fn apply_override(table: &mut Table, given: &str) -> Option<()> {
    let (path, text) = given.split_once('=')?;
    let (section, key) = path.trim().split_once('.')?;
    let text = text.trim();
    let value = toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()));
    let section = table.entry(section.to_owned()).or_insert_with(|| toml::Value::Table(Table::new())).as_table_mut()?;
    section.insert(key.to_owned(), value);
    Some(())
}

impl PrepareJobConfig {
    /// The config as TOML, every default filled in.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_else(|e| unreachable!("a config is TOML: {e}"))
    }
}

impl RunConfig {
    const SECTIONS: [&str; 13] = [
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

    /// The config as TOML, every default filled in; [`RawConfig::parse`] reads it back as the same config.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_else(|e| unreachable!("a config is TOML: {e}"))
    }

    /// [`RunConfig::to_toml`] as the run folder keeps it: a web address without its query, which may be a signature that opens the
    /// data to everyone who reads the folder or a copy of a checkpoint.
    pub fn to_stored_toml(&self) -> String {
        without_secrets(&self.to_toml()).into_owned()
    }

    /// The division of the global batch.
    pub fn batch_plan(&self) -> crate::batch_plan::BatchPlan {
        crate::batch_plan::BatchPlan {
            global_sequences: self.batch.global_sequences,
            micro_sequences: self.batch.micro_sequences,
            sequence_tokens: self.batch.sequence_tokens,
        }
    }

    /// The learning-rate schedule.
    pub fn lr_schedule(&self) -> crate::lr_schedule::LrSchedule {
        crate::lr_schedule::LrSchedule {
            peak: self.optimizer.peak_learning_rate,
            final_fraction: self.optimizer.final_fraction,
            warmup_steps: self.optimizer.warmup_steps,
            decay_steps: self.decay_steps(),
        }
    }

    fn decay_steps(&self) -> u64 {
        self.optimizer.decay_steps.unwrap_or(self.train.max_steps)
    }

    /// Fills in the defaults that depend on other sections.
    fn resolved(mut self) -> Self {
        self.optimizer.decay_steps = Some(self.decay_steps());
        self
    }
}

#[cfg(test)]
mod tests;
