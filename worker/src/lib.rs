//! The part of training that runs on a rank.
//!
//! - [`world`]: starts MPI, shares rank 0's start, and ends every rank when one fails.
//! - [`control`]: the connection to the launcher, and requests to a job.
//! - [`collectives`]: communication between ranks, over MPI, NCCL, or within one process.
//! - [`model`]: GPT-2, forward and backward written out.
//! - [`gradients`]: flat gradients, exchanged in buckets while backward goes on; clipping.
//! - [`optimizer`]: AdamW's state and update, whole or in parts (ZeRO-1).
//! - [`kernels`]: Convoy's own kernels, each with a twin of libtorch's operations.
//! - [`data`]: the token stream.
//! - [`checkpoint`]: writing, reading and pruning checkpoints, on the host.
//! - [`step`]: a step of training, and the state that it changes.
//! - [`saving`]: turns the ranks' state into a checkpoint, and a checkpoint into their state.
//! - [`observe`]: metrics, events, and progress.
//! - [`train`]: the loop.
//! - [`preflight`]: facts about a rank's host, gathered for `launcher check` and before a run's first step.
//! - [`generate`], [`evaluate`], [`mod@bench`]: the other jobs that need the model.
//! - [`libtorch`]: the shim over what tch lacks; loading CUDA.
//! - [`tunables`]: settings of the process's allocator, before it begins.
//! - `own_folder`: folders on a host that only this user can write to.
//! - [`shared_library`]: libraries that are loaded at run time.
//! - [`stacks`]: the stacks of all threads, for a process that seems to hang.
//! - [`trace`]: a trace of this process's work.
//! - [`error`]: errors that end a job, and their exit codes.

pub mod bench;
pub mod checkpoint;
pub mod collectives;
pub mod control;
pub mod data;
pub mod error;
pub mod evaluate;
pub mod generate;
pub mod gradients;
#[cfg(test)]
#[path = "../../common/tests/shared/hostile.rs"]
mod hostile;
pub mod kernels;
pub mod libtorch;
pub mod model;
pub mod observe;
pub mod optimizer;
mod own_folder;
pub mod preflight;
pub mod saving;
pub mod shared_library;
pub mod stacks;
pub mod step;
pub mod trace;
pub mod train;
pub mod tunables;
pub mod world;
