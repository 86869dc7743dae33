//! The thread that starts NCCL in the background, and then watches every operation. One that does not end in time, or
//! an error of NCCL, ends the world.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tch::TchError;

use super::communicator::{Communicator, Failure};
use super::shared::{Shared, Started};
use crate::collectives::CollectivesError;
use crate::collectives::in_flight::Operation;
use crate::trace;

/// Interval at which the watchdog looks at operations.
const INTERVAL: Duration = Duration::from_millis(10);
/// Interval while a trace is recorded, which learns here when operations end.
const TRACED_INTERVAL: Duration = Duration::from_millis(1);

/// How the watchdog ends this rank and all others.
#[derive(Clone, Copy)]
pub struct Ending {
    /// Announces the error.
    pub announce: fn(&CollectivesError),
    /// Ends the world; does not return.
    pub end: fn(&CollectivesError),
}

/// Runs the body of the thread. `begin` begins the communicator, and `operation` names that in messages.
pub fn run(
    shared: &Arc<Shared>,
    operation: &Operation,
    begin: impl FnOnce() -> Result<Communicator, Failure> + Send + 'static,
    ending: Ending,
) {
    let number = shared.in_flight.begin(*operation);
    let deadline = Instant::now() + shared.timeout();
    let begun = enter(shared).and_then(|()| begun_within(shared.timeout(), shared.clone(), begin));
    let communicator = match begun {
        Ok(communicator) => Arc::new(communicator),
        Err(failure) => return end_world(None, &shared.error(operation, failure), ending),
    };
    if let Err(failure) = communicator.settle(deadline.saturating_duration_since(Instant::now())) {
        return end_world(Some(communicator), &shared.error(operation, failure), ending);
    }
    shared.in_flight.end(number);
    let _ = shared.communicator.set(communicator.clone());
    if let Err(error) = watch(shared, &communicator) {
        end_world(Some(communicator), &error, ending);
    }
}

/// Returns the result of `begin`. This is NCCL's own call, which should not wait for other ranks, and must not hold
/// up this rank if it does.
fn begun_within(
    timeout: Duration,
    shared: Arc<Shared>,
    begin: impl FnOnce() -> Result<Communicator, Failure> + Send + 'static,
) -> Result<Communicator, Failure> {
    let (sender, begun) = channel();
    let thread = std::thread::Builder::new().name("nccl-begin".into());
    let thread = thread.spawn(move || drop(sender.send(enter(&shared).and_then(|()| begin()))));
    thread.map_err(|error| Failure::Nccl(format!("no thread can be started: {error}")))?;
    begun.recv_timeout(timeout).unwrap_or_else(|error| match error {
        RecvTimeoutError::Timeout => Err(Failure::TimedOut),
        RecvTimeoutError::Disconnected => Err(Failure::Nccl("the thread that starts it has ended".into())),
    })
}

/// Sets the rank's GPU for the calling thread.
fn enter(shared: &Shared) -> Result<(), Failure> {
    shared.lane.enter_thread().map_err(|error| Failure::Nccl(error.to_string()))
}

/// Announces the error before it aborts: an abort may take a while, and other ranks end meanwhile.
fn end_world(communicator: Option<Arc<Communicator>>, error: &CollectivesError, ending: Ending) {
    (ending.announce)(error);
    if let Some(communicator) = communicator {
        communicator.abort();
    }
    (ending.end)(error);
}

/// Follows operations to their ends until NCCL is ended.
fn watch(shared: &Shared, communicator: &Communicator) -> Result<(), CollectivesError> {
    // Time since which the oldest operation has had the lane to itself.
    let mut since = Instant::now();
    let mut watched = None;
    while !shared.is_over.load(Ordering::Relaxed) || !shared.started().is_empty() {
        // Read first and returned last: an error of NCCL is attributed to the oldest operation, in which it occurred.
        let failure = shared.failure.get();
        while take_ended(shared, communicator)? {}
        let oldest = shared.started().front().map(|started| (started.number, started.operation));
        if watched != oldest.map(|(number, _)| number) {
            (watched, since) = (oldest.map(|(number, _)| number), Instant::now());
        }
        if let Some((_, operation)) = oldest {
            communicator.is_in_progress().map_err(|failure| shared.error(&operation, failure))?;
            if since.elapsed() > shared.timeout() {
                return Err(shared.error(&operation, Failure::TimedOut));
            }
        }
        if let Some(error) = failure {
            return Err(error.clone());
        }
        std::thread::sleep(if trace::is_on() { TRACED_INTERVAL } else { INTERVAL });
    }
    shared.failure.get().map_or(Ok(()), |error| Err(error.clone()))
}

/// Removes the oldest operation if it has ended. Returns whether it had.
fn take_ended(shared: &Shared, communicator: &Communicator) -> Result<bool, CollectivesError> {
    let mut started = shared.started();
    let Some(Started { number, operation, begin, end: Some(end), .. }) = started.front() else { return Ok(false) };
    let failed = |error: TchError| shared.error(operation, Failure::Nccl(error.to_string()));
    let has_come = shared.lane.has_come(end, communicator.raw()).map_err(failed)?;
    if has_come {
        shared.in_flight.end_after(*number, end.since(begin.as_ref()));
        started.pop_front();
    }
    Ok(has_come)
}
