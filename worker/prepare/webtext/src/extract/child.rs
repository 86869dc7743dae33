//! The process that parses: it bounds itself, then answers page after page.
//!
//! Memory is bounded by `RLIMIT_AS`: an allocation above it aborts the process. Processor time is bounded per page by a thread
//! that ends the process by `SIGXCPU`; it is the process's own time, so that a busy machine changes no verdict. A panic is
//! answered as [`Verdict::Crashed`], and the process goes on.

use std::{
    any::Any,
    io::{self, Read, Write},
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use nix::sys::{
    resource::{Resource, UsageWho, getrusage, setrlimit},
    signal::{Signal, raise},
    time::TimeValLike,
};
use serde::{Deserialize, Serialize};

use super::{
    article::extract,
    frames,
    limits::Limits,
    page::{Page, Verdict},
};

/// Stack for a parser: it recurses at most a few times [`Limits::depth`] deep.
const STACK_BYTES: usize = 64 << 20;
/// Time between two looks at the processor time used.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// No page is being worked on.
const IDLE: u64 = u64::MAX;

/// What goes before a page's body.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    /// See [`Page::content_type`].
    pub(super) content_type: Option<String>,
}

/// Answers the pages that an [`Extractor`](super::Extractor) sends, until the input ends.
///
/// The process must be for this alone: its memory and its core dumps are bounded from here on, and its panics are silent.
///
/// # Errors
///
/// Fails if the input is not an extractor's, if the output is closed, or if the process cannot be bounded.
pub fn serve(input: impl Read + Send, output: impl Write + Send) -> io::Result<()> {
    panic::set_hook(Box::new(|_| {}));
    thread::scope(|scope| {
        let worker = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || answer(input, output))?;
        worker.join().unwrap_or_else(|_| Err(io::Error::other("the child's own code panicked")))
    })
}

fn answer(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let Some(limits) = frames::read(&mut input, frames::MESSAGE_BYTES)? else { return Ok(()) };
    let limits: Limits = serde_json::from_slice(&limits)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    // The thread starts before memory is bounded: a bound without room for its stack would end every child.
    let started_ms = watch(limits.cpu_ms)?;
    setrlimit(Resource::RLIMIT_AS, limits.memory_bytes, limits.memory_bytes)?;
    reply(&mut output, frames::READY)?;
    while let Some(request) = frames::read(&mut input, frames::MESSAGE_BYTES)? {
        let request: Request = serde_json::from_slice(&request)?;
        let body = frames::read(&mut input, limits.page_bytes).map_err(named)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        started_ms.store(cpu_ms()?, Ordering::SeqCst);
        let page = Page { body: &body, content_type: request.content_type.as_deref() };
        let verdict = panic::catch_unwind(AssertUnwindSafe(|| extract(&page, &limits)));
        let verdict = verdict.unwrap_or_else(|payload| Verdict::Crashed { cause: message(payload.as_ref()) });
        started_ms.store(IDLE, Ordering::SeqCst);
        reply(&mut output, &serde_json::to_vec(&verdict)?)?;
    }
    Ok(())
}

/// Gives the failure to take a page in the words of an allocation that fails, by which the parent tells what a child died of.
fn named(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::OutOfMemory => io::Error::new(error.kind(), "memory allocation of a page failed"),
        _ => error,
    }
}

fn reply(output: &mut impl Write, message: &[u8]) -> io::Result<()> {
    frames::write(output, message)?;
    output.flush()
}

/// Starts the thread that ends this process once a page has used up its time, and waits until it runs. A page's start is stored
/// in what is returned.
fn watch(limit_ms: u64) -> io::Result<Arc<AtomicU64>> {
    let (started_ms, runs) = (Arc::new(AtomicU64::new(IDLE)), Arc::new(Barrier::new(2)));
    let (watched, running) = (Arc::clone(&started_ms), Arc::clone(&runs));
    thread::Builder::new().name("time limit".into()).spawn(move || {
        running.wait();
        loop {
            thread::sleep(LOOK_EVERY);
            let started_ms = watched.load(Ordering::SeqCst);
            if started_ms != IDLE && cpu_ms().is_ok_and(|now_ms| now_ms.saturating_sub(started_ms) > limit_ms) {
                // Ends the process, unless it ignores the signal; then the parent's own watchdog remains.
                let _ = raise(Signal::SIGXCPU);
            }
        }
    })?;
    runs.wait();
    Ok(started_ms)
}

/// Processor time of this process so far, in ms.
fn cpu_ms() -> io::Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let ms = usage.user_time().num_milliseconds() + usage.system_time().num_milliseconds();
    Ok(u64::try_from(ms).unwrap_or(0))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("without a message"))
}
