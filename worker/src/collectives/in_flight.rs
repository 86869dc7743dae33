//! What a rank exchanges: which operations are under way, and which ended last. For messages, when one never ends.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::host_name::host_name;

use super::error::CollectivesError;
use crate::trace::{self, Lane};

/// What an operation is for, as messages name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    what: &'static str,
    bucket: Option<usize>,
}

impl Label {
    /// An operation on `what`.
    pub const fn new(what: &'static str) -> Self {
        Label { what, bucket: None }
    }

    /// An operation on bucket `bucket` of `what`.
    pub const fn bucket(what: &'static str, bucket: usize) -> Self {
        Label { what, bucket: Some(bucket) }
    }

    /// Whether it is one of many buckets, and not a single small thing.
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

/// One operation, as messages name it: `all-reduce (gradients, bucket 3) over MPI`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Such as `all-reduce`.
    pub name: &'static str,
    /// What it is for.
    pub label: Label,
    /// What carries it, such as `MPI`.
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
    /// By number, in the order of their begin.
    under_way: VecDeque<(u64, Operation, Instant)>,
    last: Option<(Operation, Instant)>,
    /// When the last operation of each carrier ended, for a trace.
    last_ends: HashMap<&'static str, Instant>,
}

impl State {
    /// Adds `operation`, which has ended now, to a trace. A carrier runs one after the other, whenever they were begun here; where
    /// its device knows the `duration`, it has been seen to end a little late, and so had the one before.
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
    /// An operation begins; the number is for [`InFlight::end`].
    pub fn begin(&self, operation: Operation) -> u64 {
        let mut state = self.lock();
        state.begun += 1;
        let number = state.begun;
        state.under_way.push_back((number, operation, Instant::now()));
        number
    }

    /// Operation `number` has ended.
    pub fn end(&self, number: u64) {
        self.end_after(number, None);
    }

    /// The same, where a device may know how long it took: what a host begins now, the device begins when it comes to it.
    pub fn end_after(&self, number: u64, duration: Option<Duration>) {
        let mut state = self.lock();
        let place = state.under_way.iter().position(|(begun, ..)| *begun == number);
        if let Some((_, operation, since)) = place.and_then(|place| state.under_way.remove(place)) {
            state.trace(operation, since, duration);
            state.last = Some((operation, Instant::now()));
        }
    }

    /// What this rank exchanges now, or did last; `None` before its first operation.
    pub fn words(&self) -> Option<String> {
        let state = self.lock();
        match (state.under_way.front(), &state.last) {
            (Some((_, operation, since)), _) => Some(format!("in {operation} for {}", seconds(*since))),
            (None, Some((operation, at))) => Some(format!("{operation} ended {} ago", seconds(*at))),
            (None, None) => None,
        }
    }

    /// The error of an operation over `carrier` that has not ended within `timeout`: the oldest under way is what the
    /// others wait for.
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
