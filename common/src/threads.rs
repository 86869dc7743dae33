//! Runs one function over many items on several threads, or beside its caller. If the system grants no thread, both become
//! slower, and nothing ends.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Returns the results of `f` for every item, in the order of the items. Threads take the next item when they are free,
/// since items differ in size. Passes on a panic of `f`.
pub fn map<'i, T: Sync, R: Send>(items: &'i [T], threads: usize, f: impl Fn(&'i T) -> R + Sync) -> Vec<R> {
    let threads = threads.min(items.len());
    if threads <= 1 {
        return items.iter().map(f).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut results = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(i) else { return results };
            results.push((i, f(item)));
        }
    };
    let mut results: Vec<(usize, R)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..threads).map_while(|_| Builder::new().spawn_scoped(scope, work).ok()).collect();
        let mut results = work();
        results.extend(threads.into_iter().flat_map(|t| t.join().unwrap_or_else(|panic| resume_unwind(panic))));
        results
    });
    results.sort_unstable_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Work that runs beside its caller; see [`in_background`].
pub enum Background<T> {
    /// Running on a thread.
    Thread(JoinHandle<T>),
    /// Done already, since there was no thread for it.
    Done(T),
}

/// Runs `f` on a thread of its own or, if the system grants none, before this returns.
pub fn in_background<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Background<T> {
    on_thread_of(Builder::new(), f)
}

fn on_thread_of<T: Send + 'static>(builder: Builder, f: impl FnOnce() -> T + Send + 'static) -> Background<T> {
    // A thread that cannot be started does not return the function that it was to run.
    let f = Arc::new(Mutex::new(Some(f)));
    let run = move || {
        let f = f.lock().unwrap_or_else(PoisonError::into_inner).take();
        f.unwrap_or_else(|| unreachable!("it is run once"))()
    };
    match builder.spawn(run.clone()) {
        Ok(thread) => Background::Thread(thread),
        Err(_) => Background::Done(run()),
    }
}

impl<T> Background<T> {
    /// Returns whether the work is done.
    pub fn is_finished(&self) -> bool {
        match self {
            Background::Thread(thread) => thread.is_finished(),
            Background::Done(_) => true,
        }
    }

    /// Waits for the result. Passes on a panic.
    pub fn join(self) -> T {
        match self {
            Background::Thread(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Background::Done(result) => result,
        }
    }
}

/// Returns the number of threads that can compute at once on this machine.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_for_any_number_of_threads() {
        let items: Vec<u64> = (0..1000).collect();
        let squares: Vec<u64> = items.iter().map(|i| i * i).collect();
        for threads in [0, 1, 3, 2000] {
            assert_eq!(map(&items, threads, |i| i * i), squares);
        }
        assert!(map(&[] as &[u64], 4, |i| i * i).is_empty());
    }

    #[test]
    fn what_is_done_in_the_background_is_done_without_a_thread_too() {
        assert_eq!(in_background(|| 6 * 7).join(), 42);
        // No system has room for such a stack.
        let background = on_thread_of(Builder::new().stack_size(1 << 60), || 6 * 7);
        assert!(matches!(background, Background::Done(42)));
        assert!(background.is_finished());
        assert_eq!(background.join(), 42);
    }
}
