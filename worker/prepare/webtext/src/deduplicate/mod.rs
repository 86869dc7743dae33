//! Documents that are equal or nearly so, and which of them stays.
//!
//! Everything here is a function of its arguments or a stream of records. A caller brings documents with a number each, the smaller
//! the earlier, and a place for sorted [`Runs`]. From there, duplicates are found in these steps, none of which holds more than it is
//! allowed to:
//!
//! 1. **Keys.** [`exact`] has a key for a text, a URL and a paragraph, of what [`normalise`] and [`url`] leave of them. A [`Signer`]
//!    makes a [`Signature`] of a document's [`shingles`] by [`permutations`], with a key for each band. [`MinHashOptions`] says how
//!    many, and how likely two documents are found.
//! 2. **Edges.** A [`Sorter`] brings [`Keyed`](record::Keyed) documents of one key together: those of each band by themselves, so that
//!    bands can be divided over ranks. [`Stars`] makes an edge to the first document of each key, and [`Repeats`] names paragraphs that
//!    are there before.
//! 3. **Clusters.** [`Components`] joins edges of all bands, and of exact keys, to clusters, which depend neither on the order of edges
//!    nor on the number of ranks.
//! 4. **What stays.** [`Clusters`] finds the document of each cluster that stays by the rule [`Keep`], and [`Decisions`] says what
//!    becomes of every document.
//!
//! [`record`] has the records that go from step to step, and [`file`](mod@file) is how they are written and read, so that a later
//! corpus can be compared with one whose texts are gone. Stores, ranks and what is done with a decision do not live here.

mod cluster;
pub mod exact;
pub mod file;
mod merge;
pub mod minhash;
pub mod normalise;
pub mod options;
pub mod permutations;
pub mod record;
pub mod rules;
pub mod shingles;
pub mod sketch;
mod sort;
pub mod url;

pub use cluster::{Clusters, Components, Decisions, JoinError, Keep, Memberships, Repeats, Stars};
pub use file::{Content, FileError, FileFault, FileReader, FileWriter, Records};
pub use merge::Merge;
pub use minhash::{Scratch, Signature, Signer};
pub use normalise::Normaliser;
pub use options::MinHashOptions;
pub use permutations::{Permutation, Permutations};
pub use rules::DeduplicateOptions;
pub use shingles::Shingles;
pub use sketch::Sketch;
pub use sort::{InMemory, Runs, Sorter};
