//! Config of a prepare job: all its sections together.

use serde::Serialize;

use super::kubernetes::KubernetesConfig;
use super::launch::LaunchConfig;
use super::prepare::PrepareConfig;
use super::storage::StorageConfig;
use super::webtext::WebtextConfig;

/// Config of a prepare job, section by section as in the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "each section's type says what it is")]
pub struct PrepareJobConfig {
    pub prepare: PrepareConfig,
    pub webtext: WebtextConfig,
    pub launch: LaunchConfig,
    pub kubernetes: KubernetesConfig,
    pub storage: StorageConfig,
}

impl PrepareJobConfig {
    /// Returns the config as TOML, with every default filled in.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_else(|e| unreachable!("a config is TOML: {e}"))
    }
}
