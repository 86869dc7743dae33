//! The launcher: the one program that a person types. It prepares, starts, watches and restarts; it never trains.
//!
//! - [`cli`], [`commands`]: arguments, and one module per command.
//! - [`plan`], [`backend`]: an attempt is planned and started.
//! - [`watch`]: one attempt, from its start to the [`cause`] of its end; [`event`] is all that can happen to it,
//!   [`control`] and [`interrupts`] are where most of it comes from.
//! - [`heard`], [`patience`]: what ranks were last heard to do, and how long they have stood still.
//! - [`pace`]: how long a step takes, against how long a stop may. [`stragglers`]: which rank the others wait for. [`returning`]: whether hosts that were left out answer again.
//! - [`supervise`], [`restart`]: attempt after attempt. [`relay`]: from the launcher beside the ranks to one elsewhere.
//! - [`progress`], [`prepare_view`], [`logs`], [`journal`]: what a person watches, what ranks print, what the launcher did.
//! - [`preflight`]: what is looked at before a run is paid for.
//! - [`checkpoints`], [`run_status`]: what a run folder holds, and says of the run.
//! - [`transcode`], [`shards`]: text to token ids and back; what token shards hold.
//! - [`programs`], [`error`]: the executables, and what ends a command.
//!
//! Absent on purpose: libtorch, MPI, and anything that knows what a gradient is.

mod backend;
mod cause;
mod checkpoints;
mod cli;
mod commands;
mod control;
mod error;
mod event;
mod heard;
#[cfg(test)]
#[path = "../../common/tests/shared/hostile.rs"]
mod hostile;
mod interrupts;
mod journal;
mod logs;
mod pace;
mod patience;
mod plan;
mod preflight;
mod prepare_view;
mod programs;
mod progress;
mod relay;
mod restart;
mod returning;
mod run_status;
mod shards;
mod stragglers;
mod supervise;
mod transcode;
mod watch;

use std::sync::OnceLock;

use clap::Parser as _;
use common::exit_code::ExitCode;
use common::limits::describe_panic;

fn main() -> std::process::ExitCode {
    common::telemetry::init();
    describe_panics();
    // Unwinding has ended the ranks, whose owner kills them when dropped.
    std::panic::catch_unwind(run).unwrap_or_else(|_| *PANICKED.get().unwrap_or(&ExitCode::Bug)).into()
}

/// What the first panic exits with.
static PANICKED: OnceLock<ExitCode> = OnceLock::new();

/// Has panics say more than where they are.
fn describe_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        let (message, code) = describe_panic(panic);
        progress::to_stderr(&format!("error: {message}"));
        let _ = PANICKED.set(code);
    }));
}

fn run() -> ExitCode {
    match commands::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            progress::to_stderr(&format!("error: {error}"));
            error.exit_code()
        }
    }
}
