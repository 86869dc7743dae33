//! Stages before tokenizing: pages become documents, and rules keep a document or drop it, with every decision on record.
//!
//! A stage has a folder of its own, `OUTPUT/stages/NAME-HHHHHHHHHHHHHHHH/`. The digits are those of a hash of all that decides
//! what comes out ([`plan`]), so what changed rules make lies beside what the old ones made, and a stage whose rules have not
//! changed is not done again. The work of a stage is divided into units by its inputs alone. A unit has three objects, of which
//! the last makes it count:
//!
//! ```text
//! unit-000000.documents.parquet   documents that are kept
//! unit-000000.lineage.parquet     what was decided about each document, and about each damaged record
//! unit-000000.json                sums, with sizes and hashes of the two others
//! ```
//!
//! When all units count, `stage.json` says that the stage is done. The bytes of the Parquet files depend on the inputs and the
//! rules alone, not on ranks, threads or restarts. A page near a limit of extraction is the exception: its verdict may differ from
//! machine to machine.
//!
//! - [`options`]: what the config says. [`given`]: that, and the inputs. [`plan`]: the folders of the stages.
//! - [`pages`]: objects that have pages, and their division into units.
//! - [`extract`], [`clean`], [`deduplicate`], [`overlap`]: what a stage does with pages and documents. [`documents`]: what a stage reads. [`units`]: with a unit of them. [`run`]: with all,
//!   over ranks and threads. [`room`]: whether extracting processes fit into memory.
//! - [`output`]: what a unit gives. [`document`]: documents as Parquet. [`object`]: objects that are written piece by piece.
//! - [`record`]: units and stages that are done. [`done`]: a stage, for those who read what it has made.
//! - [`parquet`]: rows of one kind as Parquet, which documents and lineage are.
//! - [`lineage`]: a line for every document and damaged record that a stage has seen, as Parquet. [`tally`]: sums of them.
//! - [`names`]: what folders and objects are called. [`folders`]: where each stage has its files.
//! - [`explain`]: what became of a document. [`dry_run`]: what a job would do.
//! - [`summary`], [`card`]: what became of all documents, for `prepare.json` and for the data card.
//! - [`paper`]: domains of WebText.
//! - [`shards`]: whether the token shards are made.
//! - [`bounded`]: texts that are stored, cut to a bound.
//!
//! Absent on purpose: what judges a page or a document, which is in the package `webtext`.

pub mod bounded;
pub mod card;
pub mod clean;
pub mod deduplicate;
pub mod document;
pub mod documents;
pub mod done;
pub mod dry_run;
pub mod explain;
pub mod extract;
pub mod folders;
pub mod given;
pub mod lineage;
pub mod names;
pub mod object;
pub mod options;
pub mod output;
pub mod overlap;
pub mod pages;
pub mod paper;
pub mod parquet;
pub mod plan;
pub mod record;
pub mod room;
pub mod run;
pub mod shards;
pub mod summary;
pub mod tally;
pub mod units;

use common::storage::Folder;

use crate::PrepareError;

pub use names::STAGES_FOLDER;
pub use options::StageOptions;

/// Returns the error for an object of a stage's folder that is not as it was written.
pub(crate) fn damaged(folder: &Folder, name: &str, reason: String) -> PrepareError {
    PrepareError::Work { url: folder.url_of(name), folder: folder.url().to_owned(), reason }
}

#[cfg(test)]
mod tests;
