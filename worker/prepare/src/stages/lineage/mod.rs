//! Lineage: what a stage has decided about each document, as Parquet, beside the documents that it kept.
//!
//! - [`mod@line`]: a row. [`schema`]: the columns, and how they are stored.
//! - [`writer`]: writes rows in bounded memory. Equal rows give equal bytes.
//! - [`reader`]: finds rows by id or URL, and reads nothing else of the other columns. [`mod@column`]: one column of them.
//! - [`units`]: the lineage files in a stage's folder.

pub(super) mod column;
pub mod line;
mod reader;
mod schema;
pub mod units;
mod writer;

pub use line::{Line, Verdict};
pub use reader::{Hits, LineageFile};
pub use units::{UnitFile, lineage_of};
pub use writer::LineageWriter;

#[cfg(test)]
pub(in crate::stages) mod tests;
