//! Training as a user starts it, one test at a time, and what holds at every end.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::exit_code::ExitCode;

use crate::process::{Running, both, launcher, mpirun};

/// Deadline of a run: far more than any run of a test takes, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Waits until no other test of this process trains: ranks of several tests would only slow each other down.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A failed test has poisoned the lock, which does not matter to others.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns `worker train` as an ordinary MPI program.
pub fn by_mpirun(ranks: u32, config: &Path) -> Command {
    let mut command = mpirun(ranks, ["train", "--config"]);
    command.arg(config).env_remove("RUST_LOG");
    command
}

/// Returns `launcher train`.
pub fn by_launcher(ranks: u32, config: &Path) -> Command {
    let mut command = Command::new(launcher());
    command.args(["train", "--ranks", &ranks.to_string(), "--config"]).arg(config).env_remove("RUST_LOG");
    command
}

/// Slows the exchanges of a run down, so that something can happen between its steps.
pub fn slowly(command: Command) -> Command {
    delayed(command, 60)
}

/// Slows the exchanges of a run down so far that requests from elsewhere can be made and noticed between its steps.
pub fn very_slowly(command: Command) -> Command {
    delayed(command, 250)
}

fn delayed(mut command: Command, delay_ms: u32) -> Command {
    command.env("CONVOY_TEST_BUCKET_DELAY_MS", delay_ms.to_string());
    command
}

/// Runs `command` to its end, which must be as [`ended`] requires.
pub fn run(command: Command, code: ExitCode, words: &[&str]) -> String {
    ended(Running::start(command), code, words)
}

/// Waits for the end of `running`: it must exit with `code`, have printed each of `words`, and leave nothing running. Returns
/// everything that it printed.
pub fn ended(running: Running, code: ExitCode, words: &[&str]) -> String {
    let output = running.finish_alone(DEADLINE);
    let text = both(&output);
    assert_eq!(output.status.code(), Some(i32::from(code.number())), "{}, expected {code:?}:\n{text}", output.status);
    for expected in words {
        assert!(text.contains(expected), "no {expected:?} in:\n{text}");
    }
    text
}
