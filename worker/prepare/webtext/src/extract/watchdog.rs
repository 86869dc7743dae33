//! Kills a child that has not answered in time. It is the last resort, for children that hang: they bound their own time.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A thread that kills the watched process at a deadline.
pub(super) struct Watchdog {
    shared: Arc<(Mutex<State>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    watched: Option<(Pid, Instant)>,
    killed: bool,
    closed: bool,
}

impl Watchdog {
    /// Starts the thread.
    pub(super) fn start() -> std::io::Result<Watchdog> {
        let shared = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("extract watchdog".into()).spawn(move || run(&own))?;
        Ok(Watchdog { shared, thread: Some(thread) })
    }

    /// Watches a process, which must not be waited for before [`Watchdog::release`].
    pub(super) fn watch(&self, pid: Pid, time: Duration) {
        let mut state = lock(&self.shared);
        state.watched = Instant::now().checked_add(time).map(|deadline| (pid, deadline));
        state.killed = false;
        self.shared.1.notify_all();
    }

    /// Watches no more, and says whether the process was killed.
    pub(super) fn release(&self) -> bool {
        let mut state = lock(&self.shared);
        state.watched = None;
        state.killed
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        lock(&self.shared).closed = true;
        self.shared.1.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(shared: &(Mutex<State>, Condvar)) {
    let mut state = lock(shared);
    while !state.closed {
        let now = Instant::now();
        state = match state.watched {
            Some((pid, deadline)) if deadline <= now => {
                // The process has not been waited for, so the number is still its own.
                let _ = kill(pid, Signal::SIGKILL);
                state.killed = true;
                state.watched = None;
                state
            }
            Some((_, deadline)) => {
                shared.1.wait_timeout(state, deadline - now).unwrap_or_else(PoisonError::into_inner).0
            }
            None => shared.1.wait(state).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

fn lock(shared: &(Mutex<State>, Condvar)) -> MutexGuard<'_, State> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}
