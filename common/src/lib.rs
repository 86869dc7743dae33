//! The contracts between Convoy's parts: what the launcher, the worker and prepare must agree on.
//!
//! Pure by intent: nothing here links libtorch or MPI, or starts a process.
//!
//! - [`config`]: a TOML file and overrides become one validated [`config::RunConfig`].
//! - [`topology`]: rank and world size.
//! - [`attempt`]: the launches of a run, claimed one by one.
//! - [`batch_plan`]: the global batch, divided over ranks and micro batches.
//! - [`cost`]: memory, operations and bytes of a step, by formula.
//! - [`lr_schedule`]: step to learning rate.
//! - [`tokenizer`]: byte-level BPE.
//! - [`token_shard`]: the shard file format and its index, writer and reader together.
//! - [`checkpoint_layout`]: names and manifest of checkpoints, who saves what.
//! - [`checkpoint_store`]: checkpoints in their store: listed, pruned, verified, copied.
//! - [`start`]: whether a run may start, by what its folder holds.
//! - [`storage`]: a URL becomes an object store.
//! - [`threads`]: one function over many items on several threads.
//! - [`limits`]: what the system refuses, where no error can be returned.
//! - [`signals`]: what a process is not to hear.
//! - [`single_copy`]: how ranks of one host exchange by MPI.
//! - [`preflight`]: what is looked at before a run is paid for, and what follows.
//! - [`exit_code`]: what a process ends with.
//! - [`worker_contract`]: the control protocol between launcher and worker.
//! - [`message_text`]: text for people in it.
//! - [`rank_message`]: messages between ranks, as bytes and back.
//! - [`metrics`]: records of a run, and how they are written.
//! - [`telemetry`]: tracing set-up.
//! - [`untrusted`]: what comes from outside, before anything relies on it; [`secrets`]: what of a URL is shown.
//! - [`sha256`], [`hex`], [`random`], [`clock`], [`host_name`]: small tools, each what its name says.

pub mod attempt;
pub mod batch_plan;
pub mod checkpoint_layout;
pub mod checkpoint_store;
pub mod clock;
pub mod config;
pub mod cost;
pub mod exit_code;
pub mod hex;
pub mod host_name;
pub mod limits;
pub mod lr_schedule;
pub mod message_text;
pub mod metrics;
pub mod preflight;
pub mod random;
pub mod rank_message;
pub mod secrets;
pub mod sha256;
pub mod signals;
pub mod single_copy;
pub mod start;
pub mod storage;
pub mod telemetry;
pub mod threads;
pub mod token_shard;
pub mod tokenizer;
pub mod topology;
pub mod untrusted;
pub mod worker_contract;
