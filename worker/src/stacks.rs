//! Prints the stack of every thread of this process, for a rank that seems to hang, without a debugger or a login.
//!
//! A thread can only look at its own stack. The printing thread therefore sends a signal to each other thread in
//! turn. The handler notes the addresses, and nothing else, since a handler may interrupt anything. The printing
//! thread then resolves their names.

#![allow(unsafe_code, reason = "installs a signal handler, and sends signals to threads")]

use std::ffi::c_int;
use std::fs;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Limit of the number of frames that are noted for a thread.
const FRAMES_MAX: usize = 64;
/// Time that a thread may take to answer; one in an uninterruptible call never does.
const PATIENCE: Duration = Duration::from_millis(300);

/// Id of the thread that is asked; 0 for none.
static ASKED: AtomicI32 = AtomicI32::new(0);
/// Its frames, innermost first, and their number.
static FRAMES: [AtomicUsize; FRAMES_MAX] = [const { AtomicUsize::new(0) }; FRAMES_MAX];
static COUNT: AtomicUsize = AtomicUsize::new(0);
static HAS_ANSWERED: AtomicBool = AtomicBool::new(false);

/// Returns the signal that asks: a real-time signal, which nothing else here uses.
fn signal() -> c_int {
    libc::SIGRTMIN() + 5
}

/// Prepares this process to print its stacks.
pub fn prepare() -> io::Result<()> {
    // The first walk loads code that walking needs, which a handler should not do.
    backtrace::trace(|_| false);
    // SAFETY: the action is zeroed and then filled in; its handler only walks the stack and stores into atomics.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = note_frames as extern "C" fn(c_int) as usize;
        // System calls that the signal interrupts are restarted.
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal(), &action, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn note_frames(_: c_int) {
    // SAFETY: gettid cannot fail.
    if unsafe { libc::gettid() } != ASKED.load(Ordering::Acquire) {
        return;
    }
    let mut count = 0;
    // SAFETY: one thread walks at a time, since one is asked at a time.
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            FRAMES[count].store(frame.ip() as usize, Ordering::Relaxed);
            count += 1;
            count < FRAMES_MAX
        });
    }
    COUNT.store(count, Ordering::Relaxed);
    HAS_ANSWERED.store(true, Ordering::Release);
}

/// Prints the stack of every other thread to standard error.
pub fn print_all() {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: gettid cannot fail.
    let own = unsafe { libc::gettid() };
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    let mut threads: Vec<i32> = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok()).collect();
    threads.sort_unstable();
    for thread in threads.into_iter().filter(|thread| *thread != own) {
        // Each stack is printed at once, so that a process that is killed meanwhile has printed what it could. A
        // failure to print is ignored.
        let _ = io::stderr().write_all(stack(thread).as_bytes());
    }
}

/// Returns the stack of `thread`, one frame per line.
fn stack(thread: i32) -> String {
    let name = fs::read_to_string(format!("/proc/self/task/{thread}/comm")).unwrap_or_default();
    let title = format!("stack of thread {thread} ({})", name.trim());
    HAS_ANSWERED.store(false, Ordering::Relaxed);
    ASKED.store(thread, Ordering::Release);
    // SAFETY: a signal to a thread of this process, or to none if the thread has ended meanwhile.
    unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), thread, signal()) };
    let until = Instant::now() + PATIENCE;
    while !HAS_ANSWERED.load(Ordering::Acquire) {
        if Instant::now() > until {
            ASKED.store(0, Ordering::Release);
            return format!("{title}: it does not answer\n");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    ASKED.store(0, Ordering::Release);
    let frames: Vec<usize> =
        FRAMES[..COUNT.load(Ordering::Relaxed)].iter().map(|ip| ip.load(Ordering::Relaxed)).collect();
    let mut text = format!("{title}:\n");
    let mut is_inside = false;
    for ip in frames {
        let names = names_at(ip);
        // Frames above the handler are the handler's own.
        if is_inside {
            text.extend(names.iter().map(|name| format!("    {name}\n")));
        }
        is_inside |= names.iter().any(|name| name.contains("note_frames"));
    }
    text
}

/// Returns the names of the functions at `ip`: several if some are inlined, and none for those of the standard
/// library.
fn names_at(ip: usize) -> Vec<String> {
    let (mut names, mut is_known) = (Vec::new(), false);
    backtrace::resolve(ip as *mut _, |symbol| {
        is_known = true;
        let name = symbol.name().map_or_else(|| format!("{ip:#x}"), |name| format!("{name:#}"));
        match (symbol.filename(), symbol.lineno()) {
            (Some(file), _) if file.starts_with("/rustc/") => {}
            (Some(file), Some(line)) => {
                names.push(format!("{} at {}:{line}", without_parameters(&name), file.display()))
            }
            _ => names.push(name),
        }
    });
    if !is_known {
        names.push(format!("{ip:#x}"));
    }
    names
}

/// Removes generic parameters: `f<A<B>>` becomes `f`, because the parameters can be longer than a page. A method with
/// its `impl` in another module than its type, `m::<impl T>::f`, becomes `T::f`.
fn without_parameters(name: &str) -> String {
    let of_type = name.split_once("::<impl ").and_then(|(_, method)| method.split_once(">::"));
    match (of_type, name.find('<')) {
        (Some((of, method)), _) => without_parameters(&format!("{of}::{method}")),
        (None, Some(1..)) => name.split('<').next().unwrap_or(name).to_owned(),
        (None, _) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn waits_for_the_test(receiver: &std::sync::mpsc::Receiver<()>) {
        // Fails once the test has ended.
        let _ = receiver.recv();
        std::hint::black_box(());
    }

    #[test]
    fn names_are_short() {
        assert_eq!(without_parameters("send<Result<A, B>>"), "send");
        assert_eq!(without_parameters("<A as B>::c"), "<A as B>::c");
        assert_eq!(without_parameters("a::b::<impl a::c::D>::e"), "a::c::D::e");
    }

    #[test]
    fn another_thread_is_found_where_it_is_and_goes_on() {
        prepare().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("a waiting one".into()).spawn(move || {
            // SAFETY: gettid cannot fail.
            tell.send(unsafe { libc::gettid() }).unwrap();
            waits_for_the_test(&receiver);
        });
        let id = told.recv().unwrap();
        // The thread may not be waiting yet.
        let until = Instant::now() + Duration::from_secs(60);
        let mut text = stack(id);
        while !text.contains("waits_for_the_test") && Instant::now() < until {
            text = stack(id);
        }
        assert!(text.starts_with(&format!("stack of thread {id} (a waiting one):\n")), "{text}");
        assert!(text.contains("waits_for_the_test"), "{text}");
        drop(sender);
        thread.unwrap().join().unwrap();
        assert!(stack(id).ends_with("it does not answer\n"), "it has ended");
    }
}
