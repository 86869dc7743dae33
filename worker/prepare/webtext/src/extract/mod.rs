//! The main text of a page, its title and its date, and for a page without one the reason.
//!
//! [`extract`] is a function of a page and of [`Limits`]. It bounds what it can before parsing; what a parser then does with a
//! hostile page is bounded only by a process that may be killed. So [`Extractor`] sends pages to a child, which is any command
//! that calls [`serve`]. A page that costs too much ends its child, gets its [`Verdict`], and leaves the next page a new child.
//!
//! - [`page`]: what is asked and what is answered. [`limits`]: bounds, with their defaults.
//! - [`charset`]: bytes into text. [`tags`]: a tokenizer of tags. [`nesting`]: tags bounded before parsing.
//! - [`article`]: parsing, by the crate `trafilatura`. [`paragraphs`]: markup into paragraphs. [`mend`]: text repaired.
//! - [`frames`]: messages between the processes. [`child`]: the side that parses. [`extractor`], [`watchdog`]: the side that asks.
//!
//! What does not live here: reading pages, ranks, and the rules that judge a text.

pub mod article;
pub mod charset;
pub mod child;
pub mod extractor;
mod frames;
pub mod limits;
pub mod mend;
pub mod nesting;
pub mod page;
pub mod paragraphs;
pub mod tags;
mod watchdog;

pub use article::extract;
pub use child::serve;
pub use extractor::{Extractor, ExtractorError};
pub use limits::Limits;
pub use page::{Article, Page, Verdict};
