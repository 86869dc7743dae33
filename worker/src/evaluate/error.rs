//! Why a checkpoint cannot be evaluated.

use common::exit_code::ExitCode;
use evaluation::overlap::FilterError;
use evaluation::tasks::{ChoiceError, ItemsError};
use evaluation::{EncodeError, ScoreError};
use prepare::PrepareError;
use prepare::flags::in_words_of;

/// Why a checkpoint cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The list of tasks is refused.
    #[error("--tasks: {0}; `launcher eval --list` shows all tasks")]
    Choice(#[from] ChoiceError),
    /// The tasks of a config are refused.
    #[error("evaluation.tasks: {0}; `launcher eval --list` shows all tasks")]
    ChoiceOfConfig(#[source] ChoiceError),
    /// Tasks of a config need a folder of data, and it gives none.
    #[error("evaluation.tasks_data is missing: the folder with {file} (from {from})")]
    NoFolderOfConfig {
        /// The file that a task reads.
        file: &'static str,
        /// Where it comes from.
        from: &'static str,
    },
    /// Tasks need a folder of data, and none was given.
    #[error("--data is missing: the folder with {file} (from {from})")]
    NoDataFolder {
        /// The file that a task reads.
        file: &'static str,
        /// Where it comes from.
        from: &'static str,
    },
    /// Data files do not exist.
    #[error("{}", missing(.0))]
    MissingData(Vec<MissingFile>),
    /// A data file is larger than any test set.
    #[error("{url} has {bytes} bytes; expected at most {bytes_max}")]
    LargeData {
        /// URL of the file.
        url: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// A data file is malformed, or has no items as they were asked for.
    #[error(transparent)]
    Items(#[from] ItemsError),
    /// Items cannot be given to the model as they were asked for.
    #[error("task {task}: {error}")]
    Encode {
        /// Name of the task.
        task: &'static str,
        /// Why.
        error: EncodeError,
    },
    /// The run has no checkpoint.
    #[error("{url} has no committed checkpoint; train first with `launcher train`")]
    NoneCommitted {
        /// URL of the run folder.
        url: String,
    },
    /// A checkpoint is in no run folder, where scores would be kept.
    #[error("{url} belongs to no run folder, in which its scores would be kept; give a folder for them with --output")]
    NoOutput {
        /// URL of the checkpoint.
        url: String,
    },
    /// Scores of one tokenizer's tokens mean nothing to a model of another.
    #[error(
        "{url} was trained with a tokenizer whose hash is {expected}, but data.tokenizer = {name:?} has {got}; name its own \
         with --set data.tokenizer=..."
    )]
    OtherTokenizer {
        /// URL of the checkpoint.
        url: String,
        /// Hash in its manifest.
        expected: String,
        /// `data.tokenizer`.
        name: String,
        /// Hash of that tokenizer.
        got: String,
    },
    /// The tokenizer has ids that the model has no row for.
    #[error(
        "{url}: the model has {vocabulary} rows for tokens, but its tokenizer has {tokens}; the checkpoint is damaged"
    )]
    SmallVocabulary {
        /// URL of the checkpoint.
        url: String,
        /// Rows of the model's embedding.
        vocabulary: u64,
        /// Tokens of the tokenizer.
        tokens: u32,
    },
    /// A score is not a number.
    #[error(
        "task {task}, item {item}: its log-likelihood is {log_likelihood}; the checkpoint's weights are not finite or too \
         large, so take an earlier one"
    )]
    NotFinite {
        /// Name of the task.
        task: &'static str,
        /// Id of the item.
        item: String,
        /// The log-likelihood.
        log_likelihood: f64,
    },
    /// What is to be looked in is no training data.
    #[error(
        "--overlap: {url} is neither token shards (a folder with index.json), nor documents ({kinds}), nor a filter that \
         --save-filter has written; name one of these"
    )]
    NoTrainingData {
        /// URL of it.
        url: String,
        /// Kinds of documents that are read.
        kinds: &'static str,
    },
    /// Documents cannot be found or read.
    #[error("--overlap: {}", without_keys(&.0))]
    Documents(Box<PrepareError>),
    /// A document is no text.
    #[error("--overlap: {document}; {remedy}")]
    BadTraining {
        /// The document, and what is wrong.
        document: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A filter cannot be read or written.
    #[error("{url}: {error}; {}", error.remedy())]
    Filter {
        /// URL of its file.
        url: String,
        /// Why.
        error: FilterError,
    },
    /// There is no memory for a filter.
    #[error(
        "--overlap: the training data have {grams} 8-grams: {error}; each rank needs 5 bytes for each, so take fewer ranks on a \
         host, or a part of the data"
    )]
    NoFilter {
        /// Number of grams of the training data.
        grams: u64,
        /// Why.
        error: FilterError,
    },
    /// A data file was written during the evaluation.
    #[error("{url} has changed since its items were read; evaluate again when nothing writes it")]
    DataChanged {
        /// URL of the file.
        url: String,
    },
    /// Scores do not fit the sequences that were scored.
    #[error("task {task}: {error}; this is a bug in Convoy, please report it")]
    Scores {
        /// Name of the task.
        task: &'static str,
        /// Why.
        error: ScoreError,
    },
}

/// A data file that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingFile {
    /// Name of the first task that reads it.
    pub task: &'static str,
    /// URL at which it was looked for.
    pub url: String,
    /// Where it comes from; `None` for a file of the user's.
    pub from: Option<&'static str>,
}

/// Advice about keys of a config, which has no part in `--overlap`, each with what is said in its place.
const WITHOUT_KEYS: [(&str, &str); 3] = [
    (", or to go on without it with prepare.on_bad_document = \"skip\"", ""),
    ("prepare.inputs names", "it names"),
    (" (prepare.text_field names another)", ""),
];

/// Returns what is wrong with documents of `--overlap`, without advice about keys of a config.
pub(in crate::evaluate) fn without_keys(said: &impl std::fmt::Display) -> String {
    in_words_of(&WITHOUT_KEYS, said)
}

fn missing(files: &[MissingFile]) -> String {
    let line = |file: &MissingFile| match file.from {
        Some(from) => format!("task {} reads {}, which does not exist; put it there from {from}", file.task, file.url),
        None => format!("task {} reads {}, which does not exist", file.task, file.url),
    };
    files.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl EvaluateError {
    /// Returns what makes an error of this kind of what is wrong with the scores of a task.
    pub fn of_scores(task: &'static str) -> impl FnOnce(ScoreError) -> Self {
        move |error| EvaluateError::Scores { task, error }
    }

    /// Returns the exit code of a process that ends because of this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            EvaluateError::Choice(_)
            | EvaluateError::ChoiceOfConfig(_)
            | EvaluateError::NoFolderOfConfig { .. }
            | EvaluateError::NoDataFolder { .. }
            | EvaluateError::NoneCommitted { .. }
            | EvaluateError::NoOutput { .. }
            | EvaluateError::OtherTokenizer { .. } => ExitCode::Config,
            EvaluateError::Items(ItemsError::Data(_)) => ExitCode::Data,
            EvaluateError::Items(_) => ExitCode::Config,
            EvaluateError::Encode { error, .. } => match error {
                EncodeError::Windows { .. } | EncodeError::Long { .. } => ExitCode::Config,
                _ => ExitCode::Data,
            },
            EvaluateError::Documents(error) => error.exit_code(),
            EvaluateError::NoFilter { .. } | EvaluateError::Filter { error: FilterError::Memory { .. }, .. } => {
                ExitCode::Config
            }
            EvaluateError::MissingData(_)
            | EvaluateError::LargeData { .. }
            | EvaluateError::SmallVocabulary { .. }
            | EvaluateError::NoTrainingData { .. }
            | EvaluateError::BadTraining { .. }
            | EvaluateError::Filter { .. }
            | EvaluateError::DataChanged { .. } => ExitCode::Data,
            EvaluateError::NotFinite { .. } => ExitCode::Numeric,
            EvaluateError::Scores { .. } => ExitCode::Bug,
        }
    }
}

impl From<PrepareError> for EvaluateError {
    fn from(error: PrepareError) -> Self {
        EvaluateError::Documents(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_file_is_named_with_its_source() {
        let file = |task, from| MissingFile { task, url: format!("file:///data/{task}"), from };
        let error = EvaluateError::MissingData(vec![file("ptb", Some("simple-examples.tgz")), file("text", None)]);
        let expected = "task ptb reads file:///data/ptb, which does not exist; put it there from simple-examples.tgz\n\
                        task text reads file:///data/text, which does not exist";
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.exit_code(), ExitCode::Data);
    }

    #[test]
    fn documents_that_are_lost_are_named_without_a_word_about_a_config() {
        let lost = PrepareError::Lost { reason: "a.txt: denied".to_owned(), code: ExitCode::Data };
        assert!(lost.to_string().contains("prepare."), "or there is nothing to leave out");
        let said = EvaluateError::Documents(Box::new(lost)).to_string();
        assert_eq!(said, "--overlap: a.txt: denied; start again when it can be read");
    }
}
