//! Why a config was refused.

use std::fmt;
use std::path::PathBuf;

use crate::secrets::without_secrets;

/// Why a config was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the config {}: {source}; give its path with --config", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the config {origin} is not TOML:\n{message}")]
    Syntax {
        /// Which file.
        origin: String,
        /// Where and why, from the parser.
        message: String,
    },
    /// An override is not `section.key=value`.
    #[error("--set {given:?} is not section.key=value, for example --set train.max_steps=100")]
    Override {
        /// What was given.
        given: String,
    },
    /// The values cannot be used; every fault of the config, in the order of its sections.
    #[error("{} in the config {origin}:\n{}", count(faults), lines(faults))]
    Faults {
        /// Which file.
        origin: String,
        /// All of them.
        faults: Vec<Fault>,
    },
}

fn count(faults: &[Fault]) -> String {
    match faults.len() {
        1 => "1 fault".into(),
        n => format!("{n} faults"),
    }
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(|f| format!("  {f}")).collect::<Vec<_>>().join("\n")
}

/// One thing that is wrong in a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `section.key`.
    pub key: String,
    /// The value as TOML; `None` where there is none.
    pub value: Option<String>,
    /// What is wrong and what to do about it.
    pub hint: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => {
                write!(f, "{} = {}: {}", self.key, without_secrets(value), without_secrets(&self.hint))
            }
            None => write!(f, "{}: {}", self.key, without_secrets(&self.hint)),
        }
    }
}
