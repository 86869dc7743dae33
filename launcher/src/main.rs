//! The launcher: the one program that a person types. It prepares, starts, watches and restarts; it never trains.
//!
//! - [`cli`], [`commands`]: arguments, and one module per command.
//! - [`backend`]: where ranks run, how they are started, and what the command line is.
//! - [`control`]: the connection of every rank. [`interrupts`]: who wants an end. [`event`]: all that can happen to an attempt.
//! - [`supervise`]: attempt after attempt, each watched to its end. [`cause`]: why an attempt ended.
//! - [`view`]: what a person sees. [`run_folder`]: what is written to the run folder, and read from it.
//! - [`preflight`]: what is looked at before a run is paid for.
//! - [`transcode`], [`shards`]: text to token ids and back; what token shards hold.
//! - [`programs`], [`error`]: the executables, and what ends a command.
//!
//! Absent on purpose: libtorch, MPI, and anything that knows what a gradient is.

mod backend;
mod cause;
mod cli;
mod commands;
mod control;
mod error;
mod event;
#[cfg(test)]
#[path = "../../common/tests/shared/hostile.rs"]
mod hostile;
mod interrupts;
mod preflight;
mod programs;
mod run_folder;
mod shards;
mod supervise;
mod transcode;
mod view;

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
        view::terminal::to_stderr(&format!("error: {message}"));
        let _ = PANICKED.set(code);
    }));
}

fn run() -> ExitCode {
    match commands::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            view::terminal::to_stderr(&format!("error: {error}"));
            error.exit_code()
        }
    }
}
