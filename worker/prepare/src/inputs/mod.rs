//! Finds the objects that the config names, and reads raw documents from them.
//!
//! - [`mod@find`]: finds the objects of the inputs, the [`source`]s. An object's name says how documents lie in it: `.txt` (and
//!   `.md`) is one document, `.jsonl` (and `.ndjson`) one a line, `.parquet` one a row; all but the last also as `.gz`, `.zst`, `.xz` and `.bz2`.
//! - [`mod@units`]: divides sources into [`Unit`]s of similar size, the pieces of work that ranks share.
//! - [`batches`]: divides a unit into [`Batch`]es of documents, always in the same way.
//! - [`documents`], [`lines`], [`rows`]: read the documents of an object, or of a part of it, in bounded memory. [`reading`]
//!   has the results that all three share, [`unpack`] reads and unpacks an object, and [`remote`] is one that holds Parquet.
//! - [`strings`]: a column of strings. [`beside`]: one that documents can do without. [`pages`]: a column's pages, which are
//!   refused where their [`header`], or a list of [`deltas`] in them, announces more than they can hold.
//! - [`fault`]: what is wrong with a document, and where it is.
//! - [`mod@estimate`]: how much text there is, from samples.
//!
//! A document's position is the byte in the unpacked object where its line begins, its row, or 0. It distinguishes the
//! document from all others of its source, and depends on nothing except the object.
//!
//! Absent on purpose: a document's text ([`crate::text`]), and which rank reads what ([`crate::tokenize`]).

mod batches;
mod beside;
mod deltas;
mod documents;
mod estimate;
mod fault;
mod find;
mod header;
mod lines;
mod pages;
mod reading;
mod remote;
mod rows;
mod source;
mod strings;
mod units;
mod unpack;

pub(crate) use batches::lost;
pub use batches::{Batch, Batches, RawDocument};
pub use estimate::{Estimate, estimate};
pub use fault::{BadDocument, Fault, Place};
pub use find::{Found, Sources, find, find_pages, probe};
pub(crate) use find::{folders_of, nothing_to_read};
pub(crate) use pages::Pages;
pub use reading::{LONGEST_DOCUMENT, ReadOptions};
pub use remote::RemoteFile;
pub use source::{KINDS, MARKDOWN, Source, is_read};
pub use units::{Piece, Unit, units};

#[cfg(test)]
mod tests;
