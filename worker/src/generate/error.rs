//! Why no text can be drawn as it was asked for.

/// Why no text can be drawn as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// No token can be drawn with the value of a flag.
    #[error("{flag} {value} must be {expected}")]
    Flag {
        /// Its name.
        flag: &'static str,
        /// What was given.
        value: f64,
        /// What it has to be.
        expected: &'static str,
    },
    /// What was named on the command line cannot be a checkpoint.
    #[error("{name:?} is no checkpoint's name; `launcher checkpoints list` shows them")]
    NotACheckpoint {
        /// What was given.
        name: String,
    },
    /// The run has no checkpoint.
    #[error("{url} has no committed checkpoint; train first with `launcher train`")]
    NoneCommitted {
        /// The run folder.
        url: String,
    },
    /// Text of one tokenizer means nothing to a model of another.
    #[error(
        "{url} was trained with a tokenizer whose hash is {expected}, but data.tokenizer = {name:?} has {got}; name the one that \
         the token shards were made with"
    )]
    OtherTokenizer {
        /// The checkpoint.
        url: String,
        /// The hash in its manifest.
        expected: String,
        /// `data.tokenizer`.
        name: String,
        /// The hash of that one.
        got: String,
    },
}
