//! Everything of training that runs on a rank.
//!
//! - [`collectives`]: what ranks exchange, over MPI or within one process.
//! - [`model`]: GPT-2, forward and backward written out.
//! - [`data`]: the token stream.
//! - [`checkpoint`]: save and restore.
//! - [`libtorch`]: the shim over what tch lacks.

pub mod checkpoint;
pub mod collectives;
pub mod data;
pub mod libtorch;
pub mod model;
