//! What ends a launch early: SIGINT, SIGTERM and SIGHUP to the launcher, and `launcher stop` from elsewhere.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::worker_contract::ExitCode;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What a person, or whoever runs this machine, asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Request {
    /// Save a checkpoint and stop: the first signal of any kind.
    Stop,
    /// End at once: a SIGINT after that. A second SIGTERM changes nothing; schedulers like to repeat it.
    EndNow,
}

/// Collects signals until somebody asks.
pub struct Interrupts {
    signals: Signals,
    /// Set by whoever hears a stop that is asked for in the run folder.
    asked_to_stop: Arc<AtomicBool>,
    stopping: bool,
    leave_at_once: Arc<AtomicBool>,
}

impl Interrupts {
    /// Takes the signals over from their defaults, for the life of the process.
    pub fn install() -> io::Result<Self> {
        let leave_at_once = Arc::new(AtomicBool::new(false));
        let status = i32::from(ExitCode::Communication.number());
        signal_hook::flag::register_conditional_shutdown(SIGINT, status, leave_at_once.clone())?;
        let signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        Ok(Interrupts { signals, asked_to_stop: Arc::default(), stopping: false, leave_at_once })
    }

    /// Setting it is the same as a first signal.
    pub fn asked_to_stop(&self) -> Arc<AtomicBool> {
        self.asked_to_stop.clone()
    }

    /// The strongest request since the last call; never waits.
    pub fn poll(&mut self) -> Option<Request> {
        let mut strongest = None;
        for signal in self.signals.pending() {
            let request = match (self.stopping, signal) {
                (true, SIGINT) => Request::EndNow,
                (true, _) => continue,
                (false, _) => Request::Stop,
            };
            self.stopping = true;
            strongest = strongest.max(Some(request));
        }
        if self.asked_to_stop.load(Ordering::Relaxed) && !std::mem::replace(&mut self.stopping, true) {
            strongest = Some(Request::Stop);
        }
        strongest
    }

    /// From now on a SIGINT ends this process on the spot: the ranks are gone, and what remains may wait for storage.
    pub fn let_the_next_one_end_this_process(&self) {
        self.leave_at_once.store(true, Ordering::SeqCst);
    }
}
