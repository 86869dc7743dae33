//! A config file and its overrides, parsed as TOML and then read as the config of a run or of a prepare job.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::LazyLock;

use toml::Table;

use super::batch::BatchConfig;
use super::checkpoint::CheckpointConfig;
use super::data::DataConfig;
use super::error::ConfigError;
use super::evaluation::EvaluationConfig;
use super::given::Given;
use super::known::Keys;
use super::kubernetes::KubernetesConfig;
use super::launch::LaunchConfig;
use super::metrics::MetricsConfig;
use super::model::ModelConfig;
use super::optimizer::OptimizerConfig;
use super::parallel::ParallelConfig;
use super::prepare::PrepareConfig;
use super::prepare_job_config::PrepareJobConfig;
use super::run::RunSection;
use super::run_config::RunConfig;
use super::section::Sections;
use super::storage::StorageConfig;
use super::train::TrainConfig;
use super::webtext::WebtextConfig;
use crate::secrets::without_secrets;

/// A config file and its overrides, parsed as TOML but not yet read.
#[derive(Debug, Clone)]
pub struct RawConfig {
    origin: String,
    /// The file with its overrides.
    table: Table,
    given: Vec<Given>,
}

impl RawConfig {
    /// Reads the file at `path` and applies `overrides`, each `section.key=value`. Later ones win.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let content = std::fs::read(path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => ConfigError::Missing { path: path.to_owned() },
            _ => ConfigError::Unreadable { path: path.to_owned(), source },
        })?;
        Self::parse_bytes(&path.display().to_string(), &content, overrides)
    }

    /// Parses the bytes of a config file and applies `overrides`. `origin` names the file in errors.
    pub fn parse_bytes(origin: &str, content: &[u8], overrides: &[String]) -> Result<Self, ConfigError> {
        let text = std::str::from_utf8(content).map_err(|error| {
            let line = 1 + content[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            ConfigError::Syntax { origin: origin.to_owned(), message: format!("line {line} is not UTF-8: {error}") }
        })?;
        Self::parse(origin, text, overrides)
    }

    /// Parses the text of a config and applies `overrides`. `origin` names its source in errors.
    pub fn parse(origin: &str, text: &str, overrides: &[String]) -> Result<Self, ConfigError> {
        Self::parse_without(None, origin, text, overrides)
    }

    /// Parses as [`parse`](Self::parse) does, but leaves out what the text says in `section`.
    pub fn parse_without(
        section: Option<&str>,
        origin: &str,
        text: &str,
        overrides: &[String],
    ) -> Result<Self, ConfigError> {
        let mut table: Table = toml::from_str(text)
            .map_err(|e| (origin.to_owned(), without_secrets(&e.to_string()).into_owned()))
            .map_err(|(origin, message)| ConfigError::Syntax { origin, message })?;
        section.map(|section| table.remove(section));
        let given = overrides.iter().map(|given| Given::parse(given, &KEYS)).collect::<Result<Vec<_>, _>>()?;
        given.iter().try_for_each(|given| given.apply(&mut table))?;
        Ok(RawConfig { origin: origin.to_owned(), table, given })
    }

    /// Returns whether this is the config of a prepare job rather than of a run.
    pub fn is_of_prepare_job(&self) -> bool {
        self.table.contains_key("prepare") && !self.table.contains_key("run")
    }

    /// Returns whether the config says how documents are prepared.
    pub fn has_prepare_section(&self) -> bool {
        self.table.contains_key("prepare")
    }

    /// Reads the sections of a run's config.
    pub fn run(self) -> Result<RunConfig, ConfigError> {
        let mut sections = Sections::new(self.table, self.given, &KEYS);
        let config = read_run(&mut sections);
        let mut faults = sections.finish(&["prepare", "webtext"]);
        faults.extend(config.impossible_combinations(&faults));
        match faults.is_empty() {
            true => Ok(config.resolved()),
            false => Err(ConfigError::Faults { origin: self.origin, faults: sections.with_flags(faults) }),
        }
    }

    /// Reads the sections of a prepare job's config.
    pub fn prepare(self) -> Result<PrepareJobConfig, ConfigError> {
        let mut sections = Sections::new(self.table, self.given, &KEYS);
        let config = read_prepare_job(&mut sections);
        let faults = sections.finish(&RunConfig::SECTIONS);
        match faults.is_empty() {
            true => Ok(config),
            false => Err(ConfigError::Faults { origin: self.origin, faults: sections.with_flags(faults) }),
        }
    }
}

fn read_run(sections: &mut Sections) -> RunConfig {
    RunConfig {
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
    }
}

fn read_prepare_job(sections: &mut Sections) -> PrepareJobConfig {
    PrepareJobConfig {
        prepare: sections.read("prepare", PrepareConfig::read),
        webtext: sections.read("webtext", WebtextConfig::read),
        launch: sections.read("launch", LaunchConfig::read),
        kubernetes: sections.read("kubernetes", KubernetesConfig::read),
        storage: sections.read("storage", StorageConfig::read),
    }
}

/// Every key of a config.
static KEYS: LazyLock<Keys> = LazyLock::new(all_keys);
/// No keys, of which an empty config needs none: it has no unknown ones.
static NO_KEYS: Keys = Keys(Vec::new());

fn all_keys() -> Keys {
    // Of an empty config every key is missing, which is known once it was asked for.
    let mut sections = Sections::new(Table::new(), Vec::new(), &NO_KEYS);
    read_run(&mut sections);
    read_prepare_job(&mut sections);
    let mut keys = Vec::new();
    for key in sections.asked() {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Keys(keys)
}
