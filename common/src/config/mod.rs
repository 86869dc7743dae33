//! One validated [`RunConfig`] or [`PrepareJobConfig`] from a TOML file and `--set section.key=value` overrides.
//!
//! Each section has a file. `raw_config.rs` reads the sections into a [`RunConfig`] or a [`PrepareJobConfig`]. `given.rs`
//! reads overrides, and `known.rs` answers unknown names. Reading never stops at the first fault: every unknown key, wrong
//! type, missing value and impossible combination is collected, and [`ConfigError::Faults`] shows them all, each with its
//! key path, its value and a hint. The result is resolved: every default is filled in, so [`RunConfig::to_toml`] describes a
//! run completely, and reads back as an equal config.

mod absolute;
mod batch;
mod bounds;
pub mod change;
mod checkpoint;
mod combinations;
mod data;
mod error;
mod evaluation;
mod given;
pub mod hosts;
mod known;
pub mod kubernetes;
mod launch;
mod metrics;
mod model;
mod optimizer;
mod parallel;
mod prepare;
mod prepare_job_config;
mod raw_config;
mod run;
mod run_config;
mod section;
mod storage;
#[cfg(test)]
mod tests;
mod train;
mod webtext;

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
pub use prepare::{OnBadDocument, PrepareConfig, StageName};
pub use prepare_job_config::PrepareJobConfig;
pub use raw_config::RawConfig;
pub use run::{DeviceKind, RunSection};
pub use run_config::RunConfig;
pub use storage::StorageConfig;
pub use train::{Precision, Recompute, TrainConfig};
pub use webtext::WebtextConfig;
