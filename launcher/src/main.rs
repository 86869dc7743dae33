//! The launcher: the only program that a person types. It prepares, starts, watches and restarts; it never trains.
//!
//! - [`cli`], [`commands`]: arguments, and one module for each command.
//! - [`backend`]: where ranks run, and how they are started.
//! - [`control`]: connections of the ranks. [`interrupts`]: requests to end. [`event`]: everything that can happen to an
//!   attempt.
//! - [`supervise`]: attempt after attempt, each watched to its end. [`cause`]: why an attempt ended.
//! - [`init`]: a first config for a text and a machine.
//! - [`view`]: what a person sees. [`run_folder`]: what is written to the run folder, and read from it.
//! - [`preflight`]: checks before a run is paid for.
//! - [`transcode`], [`shards`]: text to token ids and back; the contents of token shards.
//! - [`programs`], [`error`]: the executables, and errors that end a command.
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
mod init;
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
    // Unwinding has ended the ranks: their owner kills them when it is dropped.
    std::panic::catch_unwind(run).unwrap_or_else(|_| *PANICKED.get().unwrap_or(&ExitCode::Bug)).into()
}

/// Exit code of the first panic.
static PANICKED: OnceLock<ExitCode> = OnceLock::new();

/// Makes panics report more than their place.
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
