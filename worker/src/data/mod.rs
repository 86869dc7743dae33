//! The token stream: sequences in an order that is independent of world size and restarts, read ahead of the step.
//!
//! - [`order`]: maps the number of a training sequence to its position in a data set.
//! - [`TrainingData`]: the data sets of a run, in their order.
//! - [`DataSet`]: token shards, or token files of other programs, as `common::token_shard` opens them; maps positions
//!   to tokens.
//! - `shards`: reads and verifies one block of one token shard.
//! - `blocks`: verified blocks; `cache`: blocks in memory, within a limit; `node_cache`: blocks on a local disk that
//!   the ranks of a node share; `local_files`: blocks in local token shards.
//! - [`TokenStream`]: this rank's micro batches, made on two threads; `read_ahead`: reads blocks before they are
//!   needed.
//! - [`DataError`]: what can go wrong, and the exit code for each.
//!
//! The whole cursor is one u64, the number of sequences consumed. It is the caller's, and lives in the checkpoint.
//! Absent on purpose: tensors, and anything that spans more than one rank. Each rank reads its own sequences, and no
//! rank communicates about data.

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
pub(crate) use shards::{BlockId, Shards};
pub use stream::{MicroBatch, TokenStream};
pub use training_data::TrainingData;
