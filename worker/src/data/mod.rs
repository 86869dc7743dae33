//! The token stream: sequences in an order that no world size and no restart changes, read ahead of the step.
//!
//! - [`order`]: the number of a training sequence to its position in a data set.
//! - [`TrainingData`]: the data sets of a run, in their order.
//! - [`DataSet`]: token shards, or token files of other programs, as `common::token_shard` opens them; positions to tokens.
//! - `shards`: one block of one shard, verified before anybody sees it.
//! - `blocks`: where verified blocks are; `cache`: in memory, within a bound; `node_cache`: on a local disk that the ranks of
//!   a node share; `local_files`: in the shards themselves.
//! - [`TokenStream`]: this rank's micro batches, made on two threads; `read_ahead`: blocks before they are needed.
//! - [`DataError`]: what can go wrong, and which exit code it has.
//!
//! The whole cursor is one u64, the number of sequences consumed: it is the caller's, and lives in the checkpoint.
//! Absent on purpose: tensors, and anything that knows about more than one rank; ranks read what is theirs and never
//! talk about it.

#[cfg(test)]
mod bad_data;
mod blocks;
mod cache;
mod data_set;
mod error;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod foreign;
mod local_files;
mod node_cache;
pub mod order;
mod read_ahead;
mod shards;
mod stream;
mod training_data;

pub use data_set::DataSet;
pub use error::DataError;
pub use stream::{MicroBatch, TokenStream};
pub use training_data::TrainingData;
