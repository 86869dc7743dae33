//! The token stream: sequences in an order that depends on nothing but the seed, read ahead of the step.
//!
//! - [`order`]: the number of a training sequence to its position in the data set.
//! - [`DataSet`]: a folder of token shards; positions to tokens.
//! - `shards`: one block of one shard, verified before anybody sees it.
//! - `cache`: the blocks that were read last, within a bound.
//! - [`TokenStream`]: this rank's micro batches, made on a thread of their own.
//! - [`DataError`]: what can go wrong, and which exit code it has.
//!
//! The whole cursor is one u64, the number of sequences consumed: it is the caller's, and lives in the checkpoint.
//! Absent on purpose: tensors, and anything that knows about more than one rank; ranks read what is theirs and never
//! talk about it.

#[cfg(test)]
mod bad_data;
mod cache;
mod data_set;
mod error;
#[cfg(test)]
mod fixture;
pub mod order;
mod shards;
mod stream;

pub use data_set::DataSet;
pub use error::{DataError, TokenizerIdentity};
pub use stream::{MicroBatch, TokenStream};
