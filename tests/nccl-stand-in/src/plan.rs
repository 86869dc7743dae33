//! What goes wrong on purpose, from the environment.
//!
//! - `CONVOY_STAND_IN_DELAY_MS=20`: every operation takes so much longer.
//! - `CONVOY_STAND_IN_FAULT=RANK:WHEN:WHAT`: on that rank, before operation `WHEN` (a number from 0, or `init`),
//!   `silence` (it takes part in nothing any more), `error` (the communicator fails), `hang` (the call itself does not
//!   return) or, not with `init`, `busy` (the call returns, and is in progress for ever).
//! - `CONVOY_STAND_IN_LOG=FILE`: a line for each communicator that is aborted or closed.

use std::io::Write;
use std::time::Duration;

/// What a communicator does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It takes part in nothing any more.
    Silence,
    /// It fails.
    Error,
    /// The call does not return.
    Hang,
    /// The call is in progress for ever.
    Busy,
}

/// What this process's communicators do wrong.
#[derive(Debug, Default)]
pub struct Plan {
    delay: Duration,
    /// When, and what; `None` is the initialisation.
    fault: Option<(Option<u64>, Fault)>,
}

impl Plan {
    /// What the environment says about `rank`.
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

    /// What happens at the initialisation.
    pub fn at_init(&self) -> Option<Fault> {
        self.fault.and_then(|(when, what)| when.is_none().then_some(what))
    }

    /// What happens in the call of operation `number`, or before it is carried out.
    pub fn at(&self, number: u64) -> Option<Fault> {
        self.fault.and_then(|(when, what)| (when == Some(number)).then_some(what))
    }

    /// Waits for as long as an operation takes longer.
    pub fn wait(&self) {
        std::thread::sleep(self.delay);
    }
}

fn parsed(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| malformed(text))
}

/// A test that asks for a fault and gets none would prove nothing.
fn malformed(text: &str) -> ! {
    panic!("the stand-in for NCCL does not understand {text:?}; see its crate documentation")
}

/// Notes what was done to the communicator of `rank`, for a test that looks.
pub fn log(rank: usize, what: &str) {
    let Some(path) = std::env::var_os("CONVOY_STAND_IN_LOG") else { return };
    // Small appends of several processes do not mix.
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let _ = file.and_then(|mut file| file.write_all(format!("rank {rank}: {what}\n").as_bytes()));
}
