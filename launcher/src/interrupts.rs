//! Requests that end a launch early: SIGINT, SIGTERM and SIGHUP to the launcher, and `launcher stop` from elsewhere.
//!
//! Code that follows ranks polls for requests. Code that waits for a store, a host or a cluster cannot: there,
//! [`Interrupts::leave_meanwhile`] has the process end by itself.

use std::io;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use common::exit_code::ExitCode;
use common::signals::is_ignored;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::view::terminal::to_stderr;

/// How often a thread looks for a request.
const TICK: Duration = Duration::from_millis(50);
/// How long the awaited operation may still take to give way by itself once somebody has asked.
const PATIENCE: Duration = Duration::from_secs(1);

/// A request of a person, or of the system that runs this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Request {
    /// Save a checkpoint and stop: the first signal of any kind.
    Stop,
    /// End at once: a SIGINT after the first signal. A second SIGTERM changes nothing; schedulers like to repeat it.
    EndNow,
}

/// Collects signals until they are polled.
pub struct Interrupts {
    signals: Signals,
    /// Set when a stop is requested in the run folder.
    asked_to_stop: Arc<AtomicBool>,
    stopping: bool,
    /// Set once a signal has come.
    signalled: Arc<AtomicBool>,
    /// Exit codes with which a SIGINT ends this process at once, each where its flag is set.
    leave_at_once: [(ExitCode, Arc<AtomicBool>); 2],
}

impl Interrupts {
    /// Replaces the default handling of signals for the life of the process. A SIGHUP that is ignored, as under `nohup`,
    /// stays ignored.
    pub fn install() -> io::Result<Self> {
        let leave_at_once = [ExitCode::Stopped, ExitCode::Communication].map(|code| (code, Arc::default()));
        for (code, is_set) in &leave_at_once {
            let is_set: &Arc<AtomicBool> = is_set;
            signal_hook::flag::register_conditional_shutdown(SIGINT, i32::from(code.number()), is_set.clone())?;
        }
        let heard: Vec<i32> =
            [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| *signal != SIGHUP || !is_ignored(SIGHUP)).collect();
        let signalled = Arc::default();
        for signal in &heard {
            signal_hook::flag::register(*signal, Arc::clone(&signalled))?;
        }
        let signals = Signals::new(heard)?;
        Ok(Interrupts { signals, asked_to_stop: Arc::default(), stopping: false, signalled, leave_at_once })
    }

    /// Returns a flag that acts like a first signal when it is set.
    pub fn asked_to_stop(&self) -> Arc<AtomicBool> {
        self.asked_to_stop.clone()
    }

    /// Returns a flag that is set once a signal has come.
    pub fn signalled(&self) -> Arc<AtomicBool> {
        self.signalled.clone()
    }

    /// Returns the strongest request since the last call. Never waits.
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

    /// Makes the next SIGINT end this process at once, with `code`: the ranks are gone, and what remains may wait for
    /// storage.
    pub fn let_the_next_one_end_this_process(&self, code: ExitCode) {
        // A flag that is set stays set.
        let is_set = self.leave_at_once.iter().any(|(_, is_set)| is_set.load(Ordering::SeqCst));
        if let (false, Some((_, flag))) = (is_set, self.leave_at_once.iter().find(|(of, _)| *of == code)) {
            flag.store(true, Ordering::SeqCst);
        }
    }

    /// Makes a signal end this process while the result lives: no rank runs, and what the process waits for, `what`, may not
    /// answer for long. Code that waits and polls has a second to give way in good order.
    pub fn leave_meanwhile(&self, what: &'static str) -> Leaving {
        let (over, is_over) = channel::<()>();
        let signalled = self.signalled.clone();
        let watch = move || {
            let mut since = None;
            while is_over.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                let is_asked = signalled.load(Ordering::Relaxed);
                if is_asked && since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
                    to_stderr(&format!("stopped while waiting for {what}; run the same command to go on"));
                    exit(i32::from(ExitCode::Stopped.number()));
                }
            }
        };
        // Without a thread, it waits for as long as the operation takes.
        let _ = Builder::new().name("interrupts".into()).spawn(watch);
        Leaving { _over: over }
    }
}

/// Guard of [`Interrupts::leave_meanwhile`].
pub struct Leaving {
    /// Ends the thread when it is dropped.
    _over: Sender<()>,
}
