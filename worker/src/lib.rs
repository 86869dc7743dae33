//! Everything of training that runs on a rank.
//!
//! - [`world`]: starting MPI, sharing rank 0's start, ending everyone when one rank fails.
//! - [`control`]: the connection to the launcher, and what is asked of a job.
//! - [`collectives`]: what ranks exchange, over MPI, NCCL, or within one process.
//! - [`model`]: GPT-2, forward and backward written out.
//! - [`gradients`]: flat gradients, exchanged in buckets while backward goes on; clipping.
//! - [`optimizer`]: its state and its update, AdamW, whole or in parts (ZeRO-1).
//! - [`kernels`]: Convoy's own kernels, each with a twin of libtorch's operations.
//! - [`data`]: the token stream.
//! - [`checkpoint`]: write, read and prune, on the host.
//! - [`step`]: a step of training, and the state that it changes.
//! - [`saving`]: when the ranks' state becomes a checkpoint, and a checkpoint their state.
//! - [`observe`]: metrics, events, and what a person sees.
//! - [`train`]: the loop.
//! - [`preflight`]: what a rank finds on its host before a run is paid for, as `launcher check` asks, and before its first step.
//! - [`generate`], [`mod@bench`]: the other jobs that need the model.
//! - [`huge_pages`]: what the process asks of the allocator before it begins.
//! - [`libtorch`]: the shim over what tch lacks; loading CUDA.
//! - `own_folder`: folders on a host where nobody else can write.
//! - [`shared_library`]: libraries that are loaded at run time.
//! - [`stacks`]: where every thread of a process is that seems to hang.
//! - [`trace`]: what this process did when.
//! - [`error`]: what ends a job, and the exit code.

pub mod bench;
pub mod checkpoint;
pub mod collectives;
pub mod control;
pub mod data;
pub mod error;
pub mod generate;
pub mod gradients;
#[cfg(test)]
#[path = "../../common/tests/shared/hostile.rs"]
mod hostile;
pub mod huge_pages;
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
pub mod world;
