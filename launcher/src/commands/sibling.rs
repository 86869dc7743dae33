//! Runs another program of Convoy in the launcher's place, on the launcher's terminal.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::exit_code::ExitCode;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::LaunchError;

const TICK: Duration = Duration::from_millis(20);

/// Runs `command` on `input` to its end, as [`run`] does.
pub fn run_on(mut command: Command, input: &str) -> Result<ExitCode, LaunchError> {
    follow(command.stdin(Stdio::piped()), input)
}

/// Runs `command` to its end and returns its exit code; death by a signal counts as [`ExitCode::Communication`].
///
/// A Ctrl-C reaches the command from the terminal, as it reaches the launcher, which waits for it; SIGTERM is passed on.
pub fn run(mut command: Command) -> Result<ExitCode, LaunchError> {
    follow(&mut command, "")
}

fn follow(command: &mut Command, input: &str) -> Result<ExitCode, LaunchError> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(LaunchError::system("handle signals"))?;
    let program = command.get_program().into();
    let mut child = command.spawn().map_err(|source| LaunchError::Start { program, source })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that refuses its arguments does not read its input.
        let _ = stdin.write_all(input.as_bytes());
    }
    loop {
        if let Some(status) = child.try_wait().map_err(LaunchError::system("wait for a program"))? {
            return Ok(status.code().map_or(ExitCode::Communication, ExitCode::from_number));
        }
        if signals.pending().any(|signal| signal == SIGTERM) {
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
        }
        std::thread::sleep(TICK);
    }
}
