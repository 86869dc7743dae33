//! What a case costs, in processor time and memory.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Bounds of a case.
#[derive(Clone, Copy)]
pub struct Bounds {
    pub cpu_s: f64,
    pub memory_bytes: usize,
}

/// Runs a case in this process, prints what it cost, and checks that against its bounds.
#[track_caller]
pub fn bounded<T>(name: &str, bounds: Bounds, case: impl FnOnce() -> T) -> T {
    let before_bytes = reset_peak();
    let began_s = cpu_s(UsageWho::RUSAGE_SELF);
    let result = case();
    let cpu_s = cpu_s(UsageWho::RUSAGE_SELF) - began_s;
    let memory_bytes = status_bytes("VmHWM:").saturating_sub(before_bytes);
    println!("{name}: {cpu_s:.2} s, {:.1} MB", memory_bytes as f64 / 1e6);
    assert!(cpu_s < bounds.cpu_s, "{name}: {cpu_s} s of processor time, allowed {}", bounds.cpu_s);
    assert!(
        memory_bytes < bounds.memory_bytes,
        "{name}: {memory_bytes} bytes of memory, allowed {}",
        bounds.memory_bytes
    );
    result
}

/// Processor time so far. That of children counts once they have been waited for.
pub fn cpu_s(who: UsageWho) -> f64 {
    let usage = getrusage(who).unwrap();
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

/// Forgets the most memory that this process has had, and returns what it has now.
fn reset_peak() -> usize {
    // A system that does not allow it leaves the peak of earlier cases, and a bound may be missed that holds.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    status_bytes("VmRSS:")
}

fn status_bytes(key: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    value.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
