//! A trace of this process's work: spans on a few lanes, written as a Chrome trace that Perfetto opens
//! (`metrics.profile`).
//!
//! The process has one recorder, so that no signature has to carry it. While it is off, a span costs one atomic load.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use serde_json::json;

/// A row of the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// The thread that trains.
    Compute = 0,
    /// Communication between the ranks.
    Communication = 1,
    /// Reading of tokens ahead of the step.
    Data = 2,
}

/// A span of time in which something was done.
struct Span {
    lane: Lane,
    name: Cow<'static, str>,
    start: Instant,
    end: Instant,
}

static IS_ON: AtomicBool = AtomicBool::new(false);
static SPANS: Mutex<Vec<Span>> = Mutex::new(Vec::new());
static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// Starts the recording.
pub fn start() {
    ORIGIN.get_or_init(Instant::now);
    IS_ON.store(true, Ordering::Relaxed);
}

/// Returns whether a trace is recorded, for callers to whom a name costs something to make.
pub fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// Records a span called `name`, from `start` until now.
pub fn record(lane: Lane, name: impl Into<Cow<'static, str>>, start: Instant) {
    record_span(lane, name, start, Instant::now());
}

/// Records a span called `name`, from `start` until `end`.
pub fn record_span(lane: Lane, name: impl Into<Cow<'static, str>>, start: Instant, end: Instant) {
    if is_on() {
        let span = Span { lane, name: name.into(), start, end };
        SPANS.lock().unwrap_or_else(PoisonError::into_inner).push(span);
    }
}

/// Ends the recording and returns the trace of rank `rank`, as JSON.
pub fn finish(rank: u32) -> String {
    IS_ON.store(false, Ordering::Relaxed);
    let spans = std::mem::take(&mut *SPANS.lock().unwrap_or_else(PoisonError::into_inner));
    to_json(&spans, rank).to_string()
}

/// Formats the spans in Chrome's "Trace Event Format": complete events, in microseconds.
fn to_json(spans: &[Span], rank: u32) -> serde_json::Value {
    let origin = *ORIGIN.get_or_init(Instant::now);
    let microseconds = |at: Instant| at.saturating_duration_since(origin).as_secs_f64() * 1e6;
    let names = [(Lane::Compute, "compute"), (Lane::Communication, "communication"), (Lane::Data, "data")];
    let mut events = vec![json!({
        "ph": "M", "name": "process_name", "pid": rank, "args": { "name": format!("rank {rank}") },
    })];
    events.extend(names.map(|(lane, name)| {
        json!({ "ph": "M", "name": "thread_name", "pid": rank, "tid": lane as u32, "args": { "name": name } })
    }));
    events.extend(spans.iter().map(|span| {
        let (start, end) = (microseconds(span.start), microseconds(span.end));
        json!({
            "ph": "X", "name": span.name, "pid": rank, "tid": span.lane as u32, "ts": start, "dur": end - start,
        })
    }));
    json!({ "traceEvents": events, "displayTimeUnit": "ms" })
}
