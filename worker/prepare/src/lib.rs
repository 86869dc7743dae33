//! Turns documents into token shards on any number of ranks: the job behind `prepare shards`. docs/token-shards.md describes
//! the output.
//!
//! The job has two phases, with the store of the output between them, since hosts share nothing else:
//!
//! 1. [`tokenize`]: the inputs are divided into units ([`inputs`]). Each rank reads its units, encodes their documents
//!    ([`encode`]) and writes them to the [`work`] folder, sorted by a hash of the seed and their place.
//! 2. [`merge`]: each rank writes its share of the shards ([`shards`]). It reads the range of hashes in them ([`partitions`])
//!    from all that the first phase has written.
//!
//! That hash is the shuffle. It depends on neither ranks nor restarts, and so the shards do not depend on them either. An
//! object in the work folder counts as soon as it is there, so a job that was killed continues where it was. Memory is
//! bounded in both phases.
//!
//! Before these, [`stages`] may make documents of pages, and choose among documents.
//!
//! - [`job`]: runs stages and phases, from config to summary.
//! - [`overlap`]: documents that are left out because they overlap with a filter, such as one of test sets.
//! - [`sides`]: training or validation. [`tally`]: what became of documents. [`coverage`]: which inputs are done.
//! - [`text`]: the text of a raw document.
//! - [`train_tokenizer`]: another job over such inputs, `prepare tokenizer`.
//! - [`survey`]: how much text there is, before it is prepared. [`flags`]: messages of these two, which read no config.
//! - [`record`], [`card`], [`summary`]: descriptions of the data, for programs and for people. [`printed`]: answers as JSON.
//! - [`panics`]: panics of a library that are a file's fault.
//! - [`ranks`]: MPI. [`meetings`]: of ranks within their work. [`progress`]: how far the job is. [`memory`]: how memory is divided.

pub mod card;
pub mod coverage;
pub mod encode;
mod error;
mod failure;
pub mod flags;
#[cfg(test)]
#[path = "../../../common/tests/shared/hostile.rs"]
mod hostile;
pub mod inputs;
pub mod job;
pub mod meetings;
pub mod memory;
pub mod merge;
pub mod overlap;
pub mod panics;
pub mod partitions;
pub mod printed;
pub mod progress;
pub mod ranks;
pub mod record;
pub mod shards;
pub mod sides;
pub mod stages;
pub mod summary;
pub mod survey;
pub mod tally;
pub mod text;
pub mod tokenize;
pub mod train_tokenizer;
pub mod work;

pub use error::PrepareError;

/// Folder of the training shards in `prepare.output`.
pub const TRAIN_FOLDER: &str = "train";
/// Folder of the validation shards in `prepare.output`; absent where no document is for validation.
pub const VALIDATION_FOLDER: &str = "validation";
/// Folder of unfinished work in `prepare.output`; removed when the job is done.
pub const WORK_FOLDER: &str = "prepare-work";

#[cfg(test)]
mod tests;
