//! Evaluation tasks of the GPT-2 paper, as far as they need no model: what is asked of a model, and what its answers are worth.
//!
//! A caller reads a [`tasks::Task`]'s data file into [`Item`]s, encodes them into [`Sequence`]s ([`encode_items`]), lets a model
//! score each sequence wherever it likes, gathers the [`Score`]s by [`Key`] ([`Scores`]), and has [`metrics::results`] computed.
//! Everything here is a function of its arguments: nothing reads files, links libtorch or MPI, or knows of ranks.
//!
//! - [`tasks`]: the tasks by name, and a reader for each data set's official files.
//! - [`data`]: data files, and errors that name their lines.
//! - [`item`]: items and requests. [`tokens`]: requests as token sequences.
//! - [`score`]: scores by key. [`part`]: some of them as the bytes that are kept. [`metrics`]: measures, standard errors, results
//!   and samples.
//! - [`shots`]: other items in front of an item, as examples. [`overlap`]: what of a test set is in training data.
//! - [`report`]: results with what they were measured with. [`published`]: figures of others to compare with.
//! - [`detokenize`]: invertible de-tokenizers. [`stop_words`]: the filter for LAMBADA.

pub mod data;
pub mod detokenize;
mod hex;
pub mod item;
pub mod metrics;
pub mod overlap;
pub mod part;
pub mod published;
mod python;
pub mod report;
pub mod score;
pub mod shots;
pub mod stop_words;
pub mod tasks;
pub mod tokens;

pub use data::{DataError, DataFile};
pub use item::{Item, Request};
pub use score::{Score, ScoreError, Scores};
pub use tokens::{Encode, EncodeError, Key, Limits, OnLong, Sequence, Sequences, encode_items};
