//! Why a config was refused.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::secrets::without_secrets;

/// Why a config was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error(
        "the config {} does not exist{}; give the path of one (`launcher init TEXT` writes one)",
        path.display(),
        looked_for(path)
    )]
    Missing {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file could not be read.
    #[error("cannot read the config {}: {source}; give the path of one that can be read", path.display())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the config {origin} is not TOML:\n{message}")]
    Syntax {
        /// Where the text came from, such as the file's path.
        origin: String,
        /// Position and reason, from the parser.
        message: String,
    },
    /// An override cannot be read.
    #[error("--set {}: {}", without_secrets(given), without_secrets(reason))]
    Override {
        /// The override, as a shell takes it.
        given: String,
        /// What is wrong, and how it is typed.
        reason: String,
    },
    /// Some values cannot be used. Holds every fault of the config, in the order of its sections.
    #[error("{} in the config {origin}:\n{}", count(faults), lines(faults))]
    Faults {
        /// Where the text came from, such as the file's path.
        origin: String,
        /// All faults found.
        faults: Vec<Fault>,
    },
}

/// Says where a relative path leads.
fn looked_for(path: &Path) -> String {
    match std::path::absolute(path) {
        Ok(absolute) if absolute != path => format!(" (looked for at {})", absolute.display()),
        _ => String::new(),
    }
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

/// A fault of one key or section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Key as `section.key`.
    pub key: String,
    /// Value as TOML; `None` where there is none.
    pub value: Option<String>,
    /// What is wrong, and what to do about it.
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
