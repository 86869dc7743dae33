//! Rows of one kind as Parquet: documents, and lineage. The bytes of a file are a function of its rows alone.
//!
//! - [`row`]: what a kind of rows says of itself: its columns, and how large a row group is.
//! - [`writer`]: writes rows, a row group at a time. [`reader`]: reads row groups, or some of their rows.
//! - [`group`]: the columns of a row group, one after another. [`mod@column`]: reads a column.
//! - [`damage`]: errors for files that are not as they were written.
//!
//! Memory is bounded: both have at most a row group in memory, and the reader refuses files whose row groups are larger than a
//! writer makes them.

mod column;
mod damage;
mod group;
mod reader;
mod row;
mod writer;

pub use damage::{failure, no_sense};
pub use group::{Columns, GroupWriter};
pub use reader::{Group, RowFile};
pub use row::Row;
pub use writer::RowWriter;

#[cfg(test)]
mod tests;
