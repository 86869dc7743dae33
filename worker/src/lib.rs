//! Everything of training that runs on a rank.
//!
//! - `collectives`: what ranks exchange, over MPI or within one process.
//! - `model`: GPT-2, forward and backward written out.
//! - `gradients`: flat gradients, reduced in buckets while backward goes on; clipping.
//! - `optimizer`: AdamW.
//! - [`data`]: the token stream.
//! - [`checkpoint`]: save and restore.
//! - `train`: the loop.
//! - `sample`: text from a checkpoint.
//! - `libtorch`: the shim over what tch lacks.

pub mod checkpoint;
pub mod data;
