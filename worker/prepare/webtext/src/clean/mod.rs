//! Rules that keep a document or drop it, each with its measure on record.
//!
//! A [`Cleaner`] is made of [`CleanOptions`] and judges one [`Document`] at a time. Its [`Verdict`] has every check that was made,
//! in order, with measure and limit; what was changed in the text; and the text that is left. The rules are those of FineWeb, in
//! FineWeb's order, as datatrove 0.9.0 computes them, with Convoy's own in front (length in bytes, address, and length):
//!
//! 0. [`CleanOptions::document_bytes`]: documents that are too long for any rule.
//! 1. [`normalise`]: characters that are no text. Off in the set of FineWeb; each change is counted.
//! 2. [`address`]: hosts that are left out, such as Wikipedia's. [`length`]: documents that are too short.
//! 3. [`language`]: a detector behind a trait, and how sure it is.
//! 4. [`repetition`]: lines, paragraphs and n-grams that come again (Gopher).
//! 5. [`quality`]: words, marks and lines that are hardly prose (Gopher).
//! 6. [`c4`]: lines that are removed from a document, and documents of which too little is left.
//! 7. [`fineweb`]: what FineWeb added.
//!
//! [`options`] has the two sets, and checks all bounds. [`rule`] names the rules; [`checks`] and [`verdict`] record them; [`split`] is how a
//! caller brings words and sentences of its own, and [`english`] splits as spaCy's English pipeline does. What compares documents
//! with each other does not live here, nor does what reads or writes them.

pub mod address;
pub mod c4;
pub mod checks;
pub mod english;
pub mod fineweb;
mod grams;
mod judge;
pub mod language;
pub mod length;
pub mod normalise;
pub mod options;
mod punctuation;
pub mod quality;
pub mod repetition;
pub mod rule;
pub mod split;
pub(crate) mod text;
pub(crate) mod unicode;
pub mod verdict;
mod words;

pub use checks::{Check, Depth, Limit};
pub use judge::{Cleaner, Document};
pub use options::{CleanOptions, OptionsError, Set};
pub use rule::Rule;
pub use verdict::Verdict;
