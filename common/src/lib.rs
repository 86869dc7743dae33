//! The contracts between Convoy's parts: what the launcher, the worker and prepare must agree on.
//!
//! Pure by intent: nothing here links libtorch or MPI, or starts a process.
//!
//! - [`config`]: one validated [`config::RunConfig`] from a TOML file and overrides.
//! - [`topology`]: ranks and world size.
//! - [`attempt`]: the launches of a run, and which of them holds it.
//! - [`batch_plan`]: division of the global batch over ranks and micro batches.
//! - [`cost`]: memory, operations and bytes of a step, by formula.
//! - [`lr_schedule`]: learning rate of each step.
//! - [`tokenizer`]: byte-level BPE.
//! - [`text_survey`]: estimate of a text before it is prepared.
//! - [`token_shard`]: reader and writer of token shards and their index.
//! - [`checkpoint_layout`]: names and manifests of checkpoints, and which rank saves what.
//! - [`checkpoint_store`]: listing, pruning, verifying and copying checkpoints in their store.
//! - [`start`]: decides from the contents of the run folder whether a run may start.
//! - [`storage`]: object stores behind URLs.
//! - [`threads`]: runs one function over many items on several threads.
//! - [`limits`]: limits of the system that are met where no error can be returned.
//! - [`signals`]: signals that a process ignores.
//! - [`single_copy`]: how MPI exchanges between ranks of one host.
//! - [`preflight`]: checks before a run is paid for.
//! - [`exit_code`]: exit codes and their meaning.
//! - [`worker_contract`]: the control protocol between launcher and worker.
//! - [`message_text`]: free text within messages of that protocol.
//! - [`rank_message`]: messages between ranks, as bytes and back.
//! - [`metrics`]: records of a run, and how they are written; [`task_results`]: those of evaluation tasks.
//! - [`telemetry`]: set-up of tracing.
//! - [`untrusted`]: checks on input from outside; [`secrets`]: which parts of a URL may be shown.
//! - [`figures`], [`sha256`], [`hex`], [`random`], [`clock`], [`host_name`], [`shell`]: small tools.

pub mod attempt;
pub mod batch_plan;
pub mod checkpoint_layout;
pub mod checkpoint_store;
pub mod clock;
pub mod config;
pub mod cost;
pub mod exit_code;
pub mod figures;
pub mod hex;
pub mod host_name;
mod json_numbers;
pub mod limits;
pub mod lr_schedule;
pub mod message_text;
pub mod metrics;
pub mod preflight;
pub mod random;
pub mod rank_message;
pub mod secrets;
pub mod sha256;
pub mod shell;
pub mod signals;
pub mod single_copy;
pub mod start;
pub mod storage;
pub mod task_results;
pub mod telemetry;
pub mod text_survey;
pub mod threads;
pub mod token_shard;
pub mod tokenizer;
pub mod topology;
pub mod untrusted;
pub mod worker_contract;
