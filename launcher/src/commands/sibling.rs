//! Runs another program of Convoy in the launcher's place, on the launcher's terminal.

use std::process::Command;
use std::time::Duration;

use common::exit_code::ExitCode;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::shared::ConfigArgs;
use crate::error::LaunchError;

const TICK: Duration = Duration::from_millis(20);

/// Adds `--config` and every `--set` to `command`.
pub fn pass_config(command: &mut Command, config: &ConfigArgs) {
    command.arg("--config").arg(&config.config);
    for given in &config.overrides {
        command.arg(format!("--set={given}"));
    }
}

/// Runs `command` to its end and returns its exit code; death by a signal counts as [`ExitCode::Communication`].
///
/// A Ctrl-C reaches the command from the terminal, as it reaches the launcher, which waits for it; SIGTERM is passed on.
pub fn run(mut command: Command) -> Result<ExitCode, LaunchError> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(LaunchError::system("handle signals"))?;
    let program = command.get_program().into();
    let mut child = command.spawn().map_err(|source| LaunchError::Start { program, source })?;
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
