//! From web pages to clean documents: what judges one page or one document. Pure: no store, no ranks, no libtorch.
//!
//! - [`pages`]: pages from WARC and WET files, HTML and JSON lines.
//! - [`extract`]: the main text of a page, its title and its date.
//! - [`clean`]: the rules that keep a document or drop it.

pub mod clean;
pub mod extract;
pub mod pages;
