//! What became of a document, and why: `prepare explain`.
//!
//! - [`wanted`]: which document is meant, by its id, the beginning of its id, or its URL.
//! - [`made`]: the folders of the stages of a config, and what there is of its token shards.
//! - [`search`]: finds its lines in the lineage of every stage. [`title`]: finds its title.
//! - [`way`]: what is printed, for people and for programs. [`words`]: decisions in words.

mod made;
mod search;
mod title;
mod wanted;
mod way;
mod words;

pub use made::Made;
pub use search::explain;
pub use wanted::{NotADocument, Wanted};
pub use way::{Ending, Explained, Step, Way};
pub use words::{number, rule_in_words};

#[cfg(test)]
mod tests;
