//! A communicator of NCCL, raw: how it connects, how calls on it are made, and how it ends, in good order or at once.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use common::topology::{Rank, WorldSize};

use super::library::{Config, IN_PROGRESS, Library, RawCommunicator, SUCCESS, UniqueId};

/// Interval at which NCCL is asked whether it is ready.
const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// Limit of the time that ending a communicator may take: aborting is known to hang where the network does.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// This rank's end of the communicator.
pub struct Communicator {
    pub library: Arc<Library>,
    raw: RawCommunicator,
    /// Number of operations that have been started. Locked during a call, since NCCL takes one call at a time.
    calls: Mutex<u64>,
    is_aborted: AtomicBool,
}

// SAFETY: NCCL's calls on a communicator may come from any thread, one at a time, which the lock of `calls` ensures.
// Asking for the asynchronous error and aborting may come at any time.
unsafe impl Send for Communicator {}
// SAFETY: as above.
unsafe impl Sync for Communicator {}

/// Reason why a communicator does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// NCCL took too long.
    TimedOut,
    /// NCCL's message.
    Nccl(String),
}

impl Communicator {
    /// Begins to connect the ranks; [`Communicator::settle`] waits for the connection. The calling thread must have
    /// set the rank's GPU.
    pub fn begin(library: Arc<Library>, rank: Rank, world: WorldSize, id: UniqueId) -> Result<Self, Failure> {
        let mut raw = std::ptr::null_mut();
        let (world, rank) = (world.get() as c_int, rank.0 as c_int);
        let mut config = Config::non_blocking();
        // SAFETY: the communicator and the config are written and read during the call only.
        let result = unsafe { (library.comm_init_rank_config)(&mut raw, world, id, rank, &mut config) };
        let communicator = Communicator { library, raw, calls: Mutex::new(0), is_aborted: AtomicBool::new(false) };
        communicator.check(result)?;
        Ok(communicator)
    }

    /// Returns the raw handle, for calls outside the order of operations.
    pub fn raw(&self) -> RawCommunicator {
        self.raw
    }

    /// Makes one call that starts an operation, and waits at most `timeout` until NCCL has started it. Calls `then`
    /// with the number of the operation, counted from 1, before another one can start, and returns its result.
    pub fn start<T>(
        &self,
        timeout: Duration,
        call: impl FnOnce(&Library, RawCommunicator) -> Result<c_int, String>,
        then: impl FnOnce(u64) -> Result<T, String>,
    ) -> Result<T, Failure> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_alive()?;
        let result = call(&self.library, self.raw).map_err(Failure::Nccl)?;
        self.check(result)?;
        self.settle(timeout)?;
        *calls += 1;
        then(*calls).map_err(Failure::Nccl)
    }

    /// Waits until no call is in progress, at most `timeout`.
    pub fn settle(&self, timeout: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + timeout;
        while self.is_in_progress()? {
            if Instant::now() > deadline {
                return Err(Failure::TimedOut);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Fails once [`abort`](Self::abort) has been called: operations that were under way then have ended without
    /// their results.
    pub fn check_alive(&self) -> Result<(), Failure> {
        match self.is_aborted.load(Ordering::SeqCst) {
            true => Err(Failure::Nccl("the communicator has been aborted".into())),
            false => Ok(()),
        }
    }

    /// Returns whether NCCL is still busy with the last call, or its error if something has gone wrong since.
    pub fn is_in_progress(&self) -> Result<bool, Failure> {
        self.check_alive()?;
        let mut state = SUCCESS;
        // SAFETY: the communicator exists: the caller holds `calls`, for which an abort waits, or is the one that
        // aborts. The state is written.
        let result = unsafe { (self.library.comm_get_async_error)(self.raw, &mut state) };
        self.check(result)?;
        self.check(state)?;
        Ok(state == IN_PROGRESS)
    }

    /// Ends all operations under way on this rank, in any state. Nothing can be started afterwards.
    pub fn abort(self: Arc<Self>) {
        self.is_aborted.store(true, Ordering::SeqCst);
        within(END_PATIENCE, move || {
            // A thread that waits for a call sees `is_aborted` and gives way; one that hangs inside NCCL must not
            // hold up the abort.
            let deadline = Instant::now() + END_PATIENCE / 5;
            while matches!(self.calls.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < deadline {
                std::thread::sleep(POLL_INTERVAL);
            }
            // SAFETY: the communicator exists, and may be aborted at any time; `is_aborted` keeps other threads off.
            unsafe { (self.library.comm_abort)(self.raw) };
        });
    }

    /// Ends the communicator in good order, once every operation has ended. Every rank must call this.
    pub fn finish(self: Arc<Self>) {
        if self.is_aborted.load(Ordering::SeqCst) {
            return;
        }
        within(END_PATIENCE, move || {
            // SAFETY: the communicator exists, and nothing uses it any more. An error no longer matters.
            unsafe {
                (self.library.comm_finalize)(self.raw);
                let _ = self.settle(END_PATIENCE);
                (self.library.comm_destroy)(self.raw);
            }
        });
    }

    fn check(&self, result: c_int) -> Result<(), Failure> {
        match result {
            SUCCESS | IN_PROGRESS => Ok(()),
            other => Err(Failure::Nccl(self.library.describe(other))),
        }
    }
}

/// Runs `work` on a thread of its own, and waits for it no longer than `patience`.
fn within(patience: Duration, work: impl FnOnce() + Send + 'static) {
    let (done, ended) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("nccl-end".into()).spawn(move || {
        work();
        let _ = done.send(());
    });
    if thread.is_ok() && ended.recv_timeout(patience).is_err() {
        tracing::warn!("NCCL does not end within {} s; the process ends without it", patience.as_secs());
    }
}
