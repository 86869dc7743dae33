//! Stages before tokenizing: what becomes of pages and documents, with every decision on record.
//!
//! - [`lineage`]: a line for every document and damaged record that a stage has seen, as Parquet.
//! - [`tally`]: sums of these lines.
//! - [`bounded`]: texts that are stored, cut to a bound.

pub mod bounded;
pub mod lineage;
pub mod tally;
