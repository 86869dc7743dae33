//! Why `launcher init` writes no config.

use std::io;
use std::path::PathBuf;

use common::exit_code::ExitCode;
use common::figures::counted;

/// Why `launcher init` writes no config.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Nothing has the given name.
    #[error("{text} does not exist; give a file, a folder, a pattern in quotes, or a URL")]
    NotThere {
        /// Text as given.
        text: String,
    },
    /// What is prepared and trained would lie among the texts.
    #[error(
        "the folders of the run would lie in {text}, and be read as text when it is prepared again; go to another folder, and name \
         the text from there"
    )]
    InsideText {
        /// Text as given.
        text: String,
    },
    /// The text is too short for any run.
    #[error("the text has about {}, too few to train on; expected at least {least}: add text", counted(*tokens, "token"))]
    TooLittle {
        /// Estimated number of tokens.
        tokens: u64,
        /// Smallest number of tokens.
        least: u64,
    },
    /// A document is too long for any job.
    #[error(
        "one document has about {bytes} bytes, and none may have more than {most}; divide it, for example with \
         `split --line-bytes=500M --additional-suffix=.txt`"
    )]
    TooLong {
        /// Estimated size of the document.
        bytes: u64,
        /// Largest size of a document.
        most: u64,
    },
    /// The config exists already.
    #[error("{} exists already; give --output another name, or --force to overwrite it", path.display())]
    Exists {
        /// Path of the config.
        path: PathBuf,
    },
    /// The config cannot be written.
    #[error("cannot write {}: {source}; give --output a path that can be written", path.display())]
    Unwritable {
        /// Path of the config.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The prepare program printed something else than a survey.
    #[error("the prepare program printed no survey of the text: {0}; build launcher and prepare from one version")]
    NoSurvey(#[source] serde_json::Error),
}

impl InitError {
    /// Returns the exit code of the launcher.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            InitError::NotThere { .. } | InitError::TooLittle { .. } | InitError::TooLong { .. } => ExitCode::Data,
            InitError::InsideText { .. }
            | InitError::Exists { .. }
            | InitError::Unwritable { .. }
            | InitError::NoSurvey(_) => ExitCode::Config,
        }
    }
}
