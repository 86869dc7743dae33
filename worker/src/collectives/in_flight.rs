//! Account of a rank's operations: which are under way, and which ended last. Used in messages when one never ends.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::host_name::host_name;

use super::error::CollectivesError;
use crate::trace::{self, Lane};

/// Purpose of an operation, as messages name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    what: &'static str,
    bucket: Option<usize>,
}

impl Label {
    /// Creates the label of an operation on `what`.
    pub const fn new(what: &'static str) -> Self {
        Label { what, bucket: None }
    }

    /// Creates the label of an operation on bucket `bucket` of `what`.
    pub const fn bucket(what: &'static str, bucket: usize) -> Self {
        Label { what, bucket: Some(bucket) }
    }

    /// Returns whether the operation is on one of many buckets.
    pub fn is_bucket(self) -> bool {
        self.bucket.is_some()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bucket {
            Some(bucket) => write!(f, "{}, bucket {bucket}", self.what),
            None => f.write_str(self.what),
        }
    }
}

/// An operation, as messages name it: `all-reduce (gradients, bucket 3) over MPI`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Name of the operation, such as `all-reduce`.
    pub name: &'static str,
    /// Purpose of the operation.
    pub label: Label,
    /// Library that carries out the operation, such as `MPI`.
    pub carrier: &'static str,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) over {}", self.name, self.label, self.carrier)
    }
}

/// The operations of this rank, over all carriers.
#[derive(Default)]
pub struct InFlight {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    begun: u64,
    /// Operations by number, in the order in which they began.
    under_way: VecDeque<(u64, Operation, Instant)>,
    last: Option<(Operation, Instant)>,
    /// Time at which the last operation of each carrier ended, for a trace.
    last_ends: HashMap<&'static str, Instant>,
}

impl State {
    /// Adds `operation`, which has ended now, to a trace. A carrier runs its operations one after the other, so this
    /// one started no earlier than the previous one ended. A device that knows the `duration` is more exact, since
    /// ends are noticed a little late.
    fn trace(&mut self, operation: Operation, begun: Instant, duration: Option<Duration>) {
        if trace::is_on() {
            let before = self.last_ends.insert(operation.carrier, Instant::now());
            let begun_there = duration.and_then(|duration| Instant::now().checked_sub(duration));
            let start = begun_there.unwrap_or_else(|| before.map_or(begun, |end| begun.max(end)));
            trace::record(Lane::Communication, operation.to_string(), start);
        }
    }
}

impl InFlight {
    /// Records the begin of an operation. Returns its number, for [`InFlight::end`].
    pub fn begin(&self, operation: Operation) -> u64 {
        let mut state = self.lock();
        state.begun += 1;
        let number = state.begun;
        state.under_way.push_back((number, operation, Instant::now()));
        number
    }

    /// Records the end of operation `number`.
    pub fn end(&self, number: u64) {
        self.end_after(number, None);
    }

    /// Records the end of operation `number`, with its duration if a device has measured it: a device may start an
    /// operation later than the host has begun it.
    pub fn end_after(&self, number: u64, duration: Option<Duration>) {
        let mut state = self.lock();
        let place = state.under_way.iter().position(|(begun, ..)| *begun == number);
        if let Some((_, operation, since)) = place.and_then(|place| state.under_way.remove(place)) {
            state.trace(operation, since, duration);
            state.last = Some((operation, Instant::now()));
        }
    }

    /// Describes the operation that this rank is in, or its last one; `None` before the first.
    pub fn words(&self) -> Option<String> {
        let state = self.lock();
        match (state.under_way.front(), &state.last) {
            (Some((_, operation, since)), _) => Some(format!("in {operation} for {}", seconds(*since))),
            (None, Some((operation, at))) => Some(format!("{operation} ended {} ago", seconds(*at))),
            (None, None) => None,
        }
    }

    /// Makes the error for an operation over `carrier` that has not ended within `timeout`. It names the oldest one
    /// under way, which the other ranks wait for.
    pub fn timed_out(&self, carrier: &'static str, timeout: Duration) -> CollectivesError {
        let state = self.lock();
        let oldest = state.under_way.iter().find(|(_, operation, _)| operation.carrier == carrier);
        let operation = oldest.map_or_else(|| format!("an operation over {carrier}"), |(_, o, _)| o.to_string());
        let last = state.last.as_ref().map_or_else(
            || "none had ended before".to_owned(),
            |(operation, at)| format!("{operation} had ended {} ago", seconds(*at)),
        );
        CollectivesError::TimedOut { operation, host: host_name(), timeout_s: timeout.as_secs(), last }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn seconds(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn operation(name: &'static str, label: Label, carrier: &'static str) -> Operation {
        Operation { name, label, carrier }
    }

    #[test]
    fn words_name_what_is_under_way_and_else_what_ended_last() {
        let in_flight = InFlight::default();
        assert_eq!(in_flight.words(), None);
        let first = in_flight.begin(operation("all-reduce", Label::bucket("gradients", 3), "NCCL"));
        let second = in_flight.begin(operation("barrier", Label::new("the end"), "MPI"));
        assert_eq!(in_flight.words().unwrap(), "in all-reduce (gradients, bucket 3) over NCCL for 0.0 s");
        in_flight.end(first);
        assert_eq!(in_flight.words().unwrap(), "in barrier (the end) over MPI for 0.0 s");
        in_flight.end(second);
        assert_eq!(in_flight.words().unwrap(), "barrier (the end) over MPI ended 0.0 s ago");
    }

    #[test]
    fn what_timed_out_is_the_oldest_of_its_carrier() {
        let in_flight = InFlight::default();
        let error = in_flight.timed_out("MPI", Duration::from_secs(5)).to_string();
        assert!(error.contains("an operation over MPI") && error.contains("none had ended before"), "{error}");
        in_flight.begin(operation("all-reduce", Label::bucket("gradients", 0), "NCCL"));
        let ended = in_flight.begin(operation("broadcast", Label::new("a name"), "MPI"));
        in_flight.begin(operation("all-reduce", Label::new("the loss"), "MPI"));
        in_flight.begin(operation("barrier", Label::new("the end"), "MPI"));
        in_flight.end(ended);
        let error = in_flight.timed_out("MPI", Duration::from_secs(5)).to_string();
        let expected = format!("all-reduce (the loss) over MPI on host {} did not end within 5 s", host_name());
        assert!(error.starts_with(&expected), "{error}");
        assert!(error.contains("broadcast (a name) over MPI had ended 0.0 s ago"), "{error}");
    }
}
