//! Stages before tokenizing: what becomes of pages and documents, with every decision on record.
//!
//! - [`lineage`]: a line for every document and damaged record that a stage has seen, as Parquet.
//! - [`tally`]: sums of these lines.
//! - [`folders`]: where each stage has its files.
//! - [`explain`]: what became of a document.
//! - [`dry_run`]: what a job would do.
//! - [`summary`], [`card`]: what became of all documents, for `prepare.json` and for the data card. [`paper`]: domains of WebText.
//! - [`shards`]: whether the token shards are made.
//! - [`bounded`]: texts that are stored, cut to a bound.

pub mod bounded;
pub mod card;
pub mod dry_run;
pub mod explain;
pub mod folders;
pub mod lineage;
pub mod paper;
pub mod shards;
pub mod summary;
pub mod tally;
