//! Errors of a prepare job.

use common::config::ConfigError;
use common::exit_code::ExitCode;
use common::figures::counted;
use common::rank_message::MessageError;
use common::storage::StorageError;
use common::tokenizer::TokenizerError;
use evaluation::overlap::FilterError;
use nix::sys::signal::Signal;
use webtext::extract::ExtractorError;

use crate::inputs::{BadDocument, KINDS, MARKDOWN};
use crate::stages::explain::NotADocument;

/// Why a prepare job failed.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The config was refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A message between ranks did not arrive.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// An input cannot be found, or the output cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The tokenizer cannot be opened.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A document cannot be read, and `prepare.on_bad_document` is `fail`.
    #[error("{0}; mend it, or leave such documents out with prepare.on_bad_document = \"skip\"")]
    BadDocument(BadDocument),
    /// An input has no object that prepare reads.
    #[error(
        "prepare.inputs names {input}, and in {url} there is nothing to read; it needs objects that end in {kinds}"
    )]
    NothingToRead {
        /// Input as the config names it.
        input: String,
        /// URL of the folder that was searched.
        url: String,
        /// Kinds of objects that would be read.
        kinds: &'static str,
    },
    /// What a person has named holds no text.
    #[error("{name}: no text to read there; prepare reads {KINDS}, or {MARKDOWN}{there}")]
    NoText {
        /// Name as given.
        name: String,
        /// Description of what is there instead.
        there: String,
    },
    /// The inputs have no document with text.
    #[error(
        "no document to prepare: {} gave {empty} empty and {}{}",
        counted(*objects as u64, "object"),
        counted(*skipped, "unreadable document"),
        rest_of_empty_corpus(*overlapping)
    )]
    EmptyCorpus {
        /// Number of objects that were read.
        objects: usize,
        /// Number of documents without text.
        empty: u64,
        /// Number of documents that were left out.
        skipped: u64,
        /// Number of documents that overlap with `prepare.overlap_filter`.
        overlapping: u64,
    },
    /// The stages have kept no document.
    #[error(
        "no document is left to prepare: the stage {stage} kept 0 of {seen} documents{}; check prepare.inputs, and the rules in \
         [webtext.{stage}]",
        most_dropped(reasons)
    )]
    NothingKept {
        /// Name of the stage.
        stage: String,
        /// Number of documents and damaged records that it has seen.
        seen: u64,
        /// Rules that dropped most, each with the number of documents.
        reasons: Vec<(String, u64)>,
    },
    /// Another thread has failed, and what that one says counts.
    #[error("another thread has failed")]
    Stopped,
    /// The pages of an object cannot be read on, for another reason than their content.
    #[error(
        "{url}: reading its pages failed, and not because of their content: {reason}; run the command again, and if that comes back, \
         leave the object out of prepare.inputs"
    )]
    Unread {
        /// URL of the object.
        url: String,
        /// Reason that the system gives.
        reason: String,
    },
    /// The process that extracts pages cannot be started, is another program, or was killed from outside.
    #[error("the stage extract: {}; {}", .0, remedy_of_extractor(.0))]
    Extractor(#[from] ExtractorError),
    /// The system refuses what the stage extract needs to start.
    #[error(
        "the stage extract cannot start its processes: {0}; /proc has to be mounted here, and the limit of processes (`ulimit -u`, or \
         that of the container, the pod or the service) has to leave room for them"
    )]
    System(std::io::Error),
    /// There is no filter where the config names one.
    #[error(
        "prepare.overlap_filter: {url} does not exist; make it with `launcher eval --overlap TEXTS --save-filter`, or leave \
         this key out"
    )]
    NoFilter {
        /// URL of the filter.
        url: String,
    },
    /// The filter cannot be read.
    #[error("prepare.overlap_filter: {url}: {error}; {}", error.remedy())]
    Filter {
        /// URL of the filter.
        url: String,
        /// Why.
        error: FilterError,
    },
    /// The filter differs from rank 0's.
    #[error(
        "prepare.overlap_filter: {url} has the hash {got} here, and {expected} on rank 0; give the same file to all, and start \
         when nothing writes it"
    )]
    OtherFilter {
        /// URL of the filter.
        url: String,
        /// Hash of the filter here.
        got: String,
        /// Hash of the filter on rank 0.
        expected: String,
    },
    /// The tokenizer differs from the one of the data, or from rank 0's.
    #[error(
        "the tokenizer {name:?} has the hash {got} here, and {expected} where the data was prepared, or on rank 0; \
         give the same files, or another prepare.output"
    )]
    OtherTokenizer {
        /// Name of the tokenizer in the config.
        name: String,
        /// Hash of the tokenizer here.
        got: String,
        /// Hash of the tokenizer of the data, or on rank 0.
        expected: String,
    },
    /// An object that could be read when the job began has become unreadable.
    #[error(
        "{reason}; start again when it can be read, or to go on without it with prepare.on_bad_document = \"skip\""
    )]
    Lost {
        /// Reason that the store gives.
        reason: String,
        /// Exit code for that reason.
        code: ExitCode,
    },
    /// The output folder belongs to something else.
    #[error("{url} holds prepared data already, and {reason}; choose another prepare.output, or remove that folder")]
    OutputTaken {
        /// URL of the output folder.
        url: String,
        /// How the existing data differs.
        reason: &'static str,
    },
    /// The output folder holds data that was made by other rules.
    #[error(
        "{url} holds prepared data already, and the rules of its stages have changed since; to make it anew, remove train, \
         validation and prepare.json there (the folder stages keeps what can be used again), or choose another prepare.output"
    )]
    OtherRules {
        /// URL of the output folder.
        url: String,
    },
    /// A lineage file of a stage cannot be read.
    #[error("{url}: damaged lineage: {reason}; remove the folder of this stage, and prepare again")]
    Lineage {
        /// URL of the file.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// No stage has seen the document that a person asks for.
    #[error(
        "no stage has seen {wanted}; {}",
        match files {
            0 => "there is no lineage yet: run launcher prepare first, with stages in prepare.stages".to_owned(),
            files => format!("{files} lineage files were searched"),
        }
    )]
    NoDocument {
        /// Description of the document.
        wanted: String,
        /// Number of lineage files.
        files: usize,
    },
    /// A person has asked for a document by the beginning of its id, and several ids begin so.
    #[error("{count} documents have {wanted}:\n{candidates}\ngive more digits")]
    AmbiguousDocument {
        /// Description of the document.
        wanted: String,
        /// Number of documents.
        count: usize,
        /// Some of them, one a line.
        candidates: String,
    },
    /// What a person has typed names no document.
    #[error(transparent)]
    NotADocument(#[from] NotADocument),
    /// An earlier deduplication cannot be compared with.
    #[error("webtext.deduplicate.against: {url}: {reason}")]
    Against {
        /// URL of its folder, or of an object in it.
        url: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Evaluation sets cannot be looked for. Holds why, and what to do.
    #[error("webtext.overlap.tasks: {0}")]
    TestSets(String),
    /// An object of the work folder has changed since it was written.
    #[error("{url}: {reason}; remove {folder}, and the job starts over")]
    Work {
        /// URL of the object.
        url: String,
        /// URL of the work folder.
        folder: String,
        /// What is wrong.
        reason: String,
    },
}

/// Returns the end of the message about inputs without documents.
fn rest_of_empty_corpus(overlapping: u64) -> String {
    match overlapping {
        0 => "; check prepare.inputs and prepare.text_field".to_owned(),
        _ => format!(
            ", and {overlapping} overlapping with prepare.overlap_filter; check prepare.inputs, prepare.text_field and \
             prepare.overlap_share"
        ),
    }
}

/// Returns which rules dropped most documents.
fn most_dropped(reasons: &[(String, u64)]) -> String {
    let reasons: Vec<String> = reasons.iter().map(|(rule, count)| format!("{rule} dropped {count}")).collect();
    if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) }
}

/// Returns what to do about a process that extracts no pages.
fn remedy_of_extractor(error: &ExtractorError) -> &'static str {
    match error {
        ExtractorError::Start { .. } => {
            "it has to be there and executable, and the limits of processes (`ulimit -u`) and of memory (`ulimit -v`) have to leave \
             room for it"
        }
        ExtractorError::NotReady { .. } => {
            "raise webtext.extract.memory_bytes, or the limits of processes (`ulimit -u`) and of memory (`ulimit -v`) here"
        }
        ExtractorError::Protocol { .. } => "this is a bug; please report it with these lines",
        ExtractorError::Killed { signal: Signal::SIGKILL, .. } => {
            "the system does so when memory is short (dmesg, or the cgroup's memory.events, says so then), and no page is dropped for \
             it: each thread of a rank has such a process, of at most webtext.extract.memory_bytes; allow more memory, or give \
             fewer ranks or --threads-per-rank, or lower webtext.extract.memory_bytes, and run the command again: it continues"
        }
        ExtractorError::Killed { .. } => {
            "no page is dropped for it; find out who stops processes here, and run the command again: it continues"
        }
    }
}

impl PrepareError {
    /// Returns the exit code of a process that ends because of this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            PrepareError::Config(_) | PrepareError::NotADocument(_) | PrepareError::AmbiguousDocument { .. } => {
                ExitCode::Config
            }
            PrepareError::Message(error) => error.exit_code(),
            PrepareError::Tokenizer(error) => error.exit_code(),
            PrepareError::Storage(error) => error.exit_code(),
            PrepareError::Lost { code, .. } => *code,
            PrepareError::Filter { error: FilterError::Memory { .. }, .. } => ExitCode::Config,
            // The system refuses a process or a thread, as in `common::limits`.
            PrepareError::Extractor(
                ExtractorError::Start { .. } | ExtractorError::NotReady { .. } | ExtractorError::Killed { .. },
            )
            | PrepareError::System(_) => ExitCode::Config,
            PrepareError::Extractor(ExtractorError::Protocol { .. }) | PrepareError::Stopped => ExitCode::Bug,
            PrepareError::BadDocument(_)
            | PrepareError::NothingKept { .. }
            | PrepareError::Unread { .. }
            | PrepareError::OtherRules { .. }
            | PrepareError::NothingToRead { .. }
            | PrepareError::NoText { .. }
            | PrepareError::EmptyCorpus { .. }
            | PrepareError::NoFilter { .. }
            | PrepareError::Filter { .. }
            | PrepareError::OtherFilter { .. }
            | PrepareError::OutputTaken { .. }
            | PrepareError::OtherTokenizer { .. }
            | PrepareError::Lineage { .. }
            | PrepareError::Against { .. }
            | PrepareError::TestSets(_)
            | PrepareError::NoDocument { .. }
            | PrepareError::Work { .. } => ExitCode::Data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_whose_pages_cannot_be_read_is_named_with_what_to_do() {
        let error = PrepareError::Unread { url: "s3://crawl/a.warc".into(), reason: "no memory".into() };
        let expected = "s3://crawl/a.warc: reading its pages failed, and not because of their content: no memory; run the command again";
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(error.to_string().ends_with("leave the object out of prepare.inputs"), "{error}");
    }

    #[test]
    fn a_process_that_the_system_has_killed_is_told_with_memory_and_what_to_do() {
        let killed = |signal| PrepareError::from(ExtractorError::Killed { program: "prepare".into(), signal });
        let error = killed(Signal::SIGKILL);
        assert_eq!(error.exit_code(), ExitCode::Config);
        let text = error.to_string();
        for part in ["prepare was killed from outside by SIGKILL", "webtext.extract.memory_bytes", "--threads-per-rank"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert!(!killed(Signal::SIGTERM).to_string().contains("memory"), "another signal has other reasons");
    }
}
