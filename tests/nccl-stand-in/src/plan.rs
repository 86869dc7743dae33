//! Faults on purpose, from the environment.
//!
//! - `CONVOY_STAND_IN_DELAY_MS=20`: every operation takes this much longer.
//! - `CONVOY_STAND_IN_FAULT=RANK:WHEN:WHAT`: a fault of that rank, before operation `WHEN` (a number from 0, or `init`).
//!   `WHAT` is `silence` (the communicator takes part in nothing any more), `error` (the communicator fails), `hang` (the
//!   call itself does not return) or, not with `init`, `busy` (the call returns, and is in progress for ever).
//! - `CONVOY_STAND_IN_LOG=FILE`: a line for each communicator that is aborted or closed.

use std::io::Write;
use std::time::Duration;

/// A fault of a communicator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The communicator takes part in nothing any more.
    Silence,
    /// The communicator fails.
    Error,
    /// The call does not return.
    Hang,
    /// The call is in progress for ever.
    Busy,
}

/// The faults of this process's communicators.
#[derive(Debug, Default)]
pub struct Plan {
    delay: Duration,
    /// When the fault happens, and which; the inner `None` is the initialisation.
    fault: Option<(Option<u64>, Fault)>,
}

impl Plan {
    /// Reads the plan for `rank` from the environment.
    pub fn of_rank(rank: usize) -> Self {
        let delay_ms = std::env::var("CONVOY_STAND_IN_DELAY_MS").map_or(0, |text| parsed(&text));
        let fault = std::env::var("CONVOY_STAND_IN_FAULT").ok();
        let fault = fault.and_then(|text| {
            let [on_rank, when, what] = text.split(':').collect::<Vec<_>>()[..] else { malformed(&text) };
            let when = (when != "init").then(|| parsed(when));
            let what = match what {
                "silence" => Fault::Silence,
                "error" => Fault::Error,
                "hang" => Fault::Hang,
                "busy" if when.is_some() => Fault::Busy,
                _ => malformed(&text),
            };
            (parsed(on_rank) == rank as u64).then_some((when, what))
        });
        Plan { delay: Duration::from_millis(delay_ms), fault }
    }

    /// Returns the fault of the initialisation.
    pub fn at_init(&self) -> Option<Fault> {
        self.fault.and_then(|(when, what)| when.is_none().then_some(what))
    }

    /// Returns the fault of operation `number`, in its call or before it is performed.
    pub fn at(&self, number: u64) -> Option<Fault> {
        self.fault.and_then(|(when, what)| (when == Some(number)).then_some(what))
    }

    /// Waits for the planned delay of an operation.
    pub fn wait(&self) {
        std::thread::sleep(self.delay);
    }
}

fn parsed(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| malformed(text))
}

/// Panics: a test that asks for a fault and gets none would prove nothing.
fn malformed(text: &str) -> ! {
    panic!("the stand-in for NCCL does not understand {text:?}; see its crate documentation")
}

/// Logs what was done to the communicator of `rank`, for a test to read.
pub fn log(rank: usize, what: &str) {
    let Some(path) = std::env::var_os("CONVOY_STAND_IN_LOG") else { return };
    // Small appends of several processes do not mix.
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let _ = file.and_then(|mut file| file.write_all(format!("rank {rank}: {what}\n").as_bytes()));
}
