//! Pages from WARC and WET files, HTML files, and JSON lines.
//!
//! [`Pages`] is an iterator over the pages of one object, which the caller gives as a stream. It yields an [`Entry`] for every
//! page and for every damaged record; what is in order and no page is counted ([`Counts`]). After damage, reading goes on at the
//! next record.
//!
//! - [`mod@format`]: how pages lie in an object, by its name.
//! - [`page`]: a page, and where it lies. [`damage`]: what could not be read. [`counts`]: what was there. [`limits`]: limits, and
//!   the memory that follows from them.
//! - [`reader`]: the iterator. [`next`]: what it is told by the reader of a layout.
//! - [`unpack`]: the bytes of an object, unpacked by gzip member or zstd frame.
//! - [`warc`]: records, and where they end. [`http`]: the message in a record.
//! - [`lines`], [`mod@json`]: JSON lines, by the rules of [`crate::json`]. [`mod@file`]: an object that is one page.
//! - [`mod@write`]: WARC files for tests, and for folders of pages.
//!
//! **Place.** [`Place`] is the first byte of the gzip member or zstd frame in which a record begins, and how many unpacked
//! bytes lie before it in there: 0 where each record has a member of its own, as in every archive by the standard. [`Pages::at`]
//! reads a record again.
//!
//! **Packing** follows from the first bytes of an object, not from its name: a file may have been unpacked on its way.
//!
//! Records are parsed here since no crate on crates.io reads on after damage: `warc` 0.4 ends at the first header that it
//! cannot parse, believes every Content-Length, and takes a cut gzip member for the end of the file.
//!
//! Absent on purpose: stores, names of objects, and which pages are wanted (their status, their type, their language).

pub mod counts;
pub mod damage;
mod file;
pub mod format;
mod http;
mod json;
pub mod limits;
mod lines;
mod next;
pub mod page;
pub mod reader;
mod unpack;
mod warc;
pub mod write;

pub use counts::{Counts, Skipped};
pub use damage::{Damage, Fault};
pub use format::{Format, Layout};
pub use limits::Limits;
pub use page::{Kind, Mend, Page, Place};
pub use reader::{Entry, Pages};
pub use unpack::Dictionary;

#[cfg(test)]
mod tests;
