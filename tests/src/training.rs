//! Training as a user starts it, a few tests at a time, and what holds at every end.

use std::path::Path;
use std::process::Command;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use common::exit_code::ExitCode;

use crate::process::{Running, both, launcher, mpirun};

/// Deadline of a run: far more than any run of a test takes, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Tests of this process that may train, each with a few ranks.
///
/// Ranks wait for one another, for a store and for a clock during much of a test. Several tests together use the time.
static SEATS: Mutex<Option<usize>> = Mutex::new(None);
static FREED: Condvar = Condvar::new();
/// Held by the test that waits for seats, so that one that needs all of them is not passed over for ever.
static FIRST_IN_LINE: Mutex<()> = Mutex::new(());

/// Number of tests that train at once, for each core.
const PER_CORE: usize = 1;

/// A seat among the tests that train, or all of them. It is free again when this value is dropped.
#[must_use]
pub struct Turn {
    seats: usize,
}

/// Waits until one more test of this process may train.
pub fn turn() -> Turn {
    take(1)
}

/// Waits until no other test of this process trains, for a test whose outcome depends on the speed of its ranks.
pub fn turn_alone() -> Turn {
    take(all_seats())
}

fn all_seats() -> usize {
    PER_CORE * std::thread::available_parallelism().map_or(1, usize::from)
}

fn take(seats: usize) -> Turn {
    // A failed test has poisoned the locks, which does not matter to others.
    let _first = FIRST_IN_LINE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut free = SEATS.lock().unwrap_or_else(PoisonError::into_inner);
    while *free.get_or_insert_with(all_seats) < seats {
        free = FREED.wait(free).unwrap_or_else(PoisonError::into_inner);
    }
    *free = free.map(|free| free - seats);
    Turn { seats }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut free = SEATS.lock().unwrap_or_else(PoisonError::into_inner);
        *free = free.map(|free| free + self.seats);
        FREED.notify_all();
    }
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
