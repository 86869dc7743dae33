//! Work for libtorch's threads, which the CPU's kernels share with libtorch's operations.

use std::ffi::c_void;

use super::functions;

/// Calls `task` with each number from 0 to `tasks` - 1. Each thread takes the next number, so a thread that is held
/// up does fewer. A task that panics ends the process.
pub fn each_in_turn<F: Fn(usize) + Sync>(tasks: usize, task: &F) {
    extern "C" fn call<F: Fn(usize)>(task: *const c_void, number: i64) {
        // SAFETY: the pointer is the reference given below, which outlives the call.
        unsafe { (*task.cast::<F>())(number as usize) }
    }
    // SAFETY: `call` is for this F, which other threads may have references to; all calls have returned when this
    // returns.
    unsafe { functions::convoy_cpu_each_in_turn(tasks as i64, call::<F>, std::ptr::from_ref(task).cast()) }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    #[test]
    fn each_task_is_done_once() {
        for tasks in [0, 1, 2, 100] {
            let seen = Mutex::new(Vec::new());
            super::each_in_turn(tasks, &|number| seen.lock().unwrap().push(number));
            let mut seen = seen.into_inner().unwrap();
            seen.sort_unstable();
            assert_eq!(seen, (0..tasks).collect::<Vec<_>>());
        }
    }
}
