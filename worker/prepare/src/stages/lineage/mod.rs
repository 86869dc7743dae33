//! Lineage: what a stage has decided about each document, as Parquet, beside the documents that it kept.
//!
//! - [`mod@line`]: a row. [`schema`]: the columns, and how they are stored.
//! - [`reader`]: finds rows by id or URL, and reads nothing else of the other columns.
//! - [`units`]: the lineage files in a stage's folder.

pub mod line;
mod reader;
mod schema;
pub mod units;

pub use line::{Line, Verdict};
pub use reader::{Hits, LineageFile};
pub use units::{UnitFile, lineage_of};

use super::parquet::RowWriter;

/// Writer of lineage.
pub type LineageWriter<W> = RowWriter<Line, W>;

#[cfg(test)]
pub(in crate::stages) mod tests;
