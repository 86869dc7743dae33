//! From web pages to documents: what judges one page or one document, and what finds duplicates among all. Pure: no store, no
//! ranks, no libtorch.
//!
//! - [`pages`]: pages from WARC and WET files, HTML and JSON lines.
//! - [`extract`]: the main text of a page, its title and its date.
//! - [`clean`]: the rules that keep a document or drop it.
//! - [`deduplicate`]: documents that are equal or nearly so, and which of them stays.
//! - [`authority`]: the host in a URL, for all of these.
//! - [`json`]: strings in a JSON line, of a page or of a text.

pub mod authority;
pub mod clean;
pub mod deduplicate;
pub mod extract;
pub mod json;
pub mod pages;
