//! What the config names becomes objects, and objects become raw documents.
//!
//! - [`mod@find`]: inputs to [`source`]s, the objects in them. The object's name says how documents lie in it: `.txt` is one
//!   document, `.jsonl` one a line, `.parquet` one a row; the first two also as `.gz`, `.zst`, `.xz` and `.bz2`.
//! - [`mod@units`]: sources to [`Unit`]s of similar size, the pieces of work that ranks share.
//! - [`batches`]: a unit to [`Batch`]es of documents, always the same ones.
//! - [`documents`], [`lines`], [`rows`]: an object, or a part of it, to documents, in bounded memory. [`reading`] is what all three
//!   come to, [`unpack`] how an object is read and unpacked.
//! - [`fault`]: what is wrong with a document, and where it is.
//!
//! A document's position (the byte in the unpacked object where its line begins, its row, or 0) tells it from every other
//! of its source. It depends on nothing but the object.
//!
//! Absent on purpose: a document's text ([`crate::text`]), and which rank reads what ([`crate::tokenize`]).

mod batches;
mod documents;
mod fault;
mod find;
mod lines;
mod reading;
mod rows;
mod source;
mod units;
mod unpack;

pub use batches::{Batch, Batches, RawDocument};
pub use fault::{BadDocument, Fault, Place};
pub use find::{Found, Sources, find, probe};
pub use reading::ReadOptions;
pub use source::{KINDS, Source};
pub use units::{Piece, Unit, units};

#[cfg(test)]
mod tests;
