//! Overlap of test sets with training data, as in section 4 of the GPT-2 paper.
//!
//! Text becomes lower-cased alphanumeric words, and eight words in a row are a gram ([`grams()`]). A Bloom filter holds the grams
//! of the training data ([`Filter`]). The overlap of a test set is the share of its grams that are in the filter
//! ([`overlap_of`]). A filter never misses a gram that it holds, and takes a foreign one for its own once in 100,000,000 times.

mod error;
mod file;
mod filter;
mod grams;
mod report;

pub use error::FilterError;
pub use file::FILTER_MAGIC;
pub use filter::{FALSE_POSITIVES_MAX, Filter};
pub use grams::{GRAM_WORDS, Gram, GramStream, grams};
pub use report::{ItemOverlap, OverlapSummary, TaskOverlap, overlap_of};
