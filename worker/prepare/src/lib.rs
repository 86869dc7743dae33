//! Documents to token shards on any number of ranks: the job behind `prepare shards`. docs/token-shards.md describes what
//! it writes.
//!
//! Two phases, with the store of the output between them, since hosts share nothing else:
//!
//! 1. [`tokenize`]: the inputs are divided into units ([`inputs`]); each rank reads its units, encodes their documents
//!    ([`encode`]) and writes them to the [`work`] folder, sorted by a hash of the seed and their place.
//! 2. [`merge`]: each rank writes its share of the shards ([`shards`]), reading the range of hashes in them
//!    ([`partitions`]) from all that was written in the first.
//!
//! That hash is the shuffle. It depends on neither ranks nor restarts, so the shards do not either. What is in the work
//! folder counts as soon as it is there, so a job that was killed goes on where it was. Memory is bounded in both phases.
//!
//! - [`job`]: the two phases, from config to summary.
//! - [`sides`], [`tally`], [`coverage`]: training or validation; what became of documents; which inputs are done.
//! - `text`: what should be a document, to its text.
//! - [`train_tokenizer`]: another job over the same inputs, `prepare tokenizer`.
//! - [`record`], [`card`], [`summary`]: what is said about the data, for programs and for people.
//! - [`panics`]: panics of a library that are a file's fault.
//! - [`ranks`], [`progress`], [`memory`]: MPI, how far it is, how memory is divided.

pub mod card;
pub mod coverage;
pub mod encode;
mod error;
#[cfg(test)]
#[path = "../../../common/tests/shared/hostile.rs"]
mod hostile;
pub mod inputs;
pub mod job;
pub mod memory;
pub mod merge;
pub mod panics;
pub mod partitions;
pub mod progress;
pub mod ranks;
pub mod record;
pub mod shards;
pub mod sides;
pub mod summary;
pub mod tally;
mod text;
pub mod tokenize;
pub mod train_tokenizer;
pub mod work;

pub use error::PrepareError;

/// Folder of the training shards in `prepare.output`.
pub const TRAIN_FOLDER: &str = "train";
/// Folder of the validation shards in `prepare.output`; it does not exist where no document is for validation.
pub const VALIDATION_FOLDER: &str = "validation";
/// Folder in `prepare.output` of what is not finished; gone when the job is done.
pub const WORK_FOLDER: &str = "prepare-work";

#[cfg(test)]
mod tests;
