//! Turns panics of a library on a damaged file into that file's fault, instead of the end of the process.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether [`guarded`] catches panics of this thread, so that the process's panic hook must do nothing.
pub fn is_guarded() -> bool {
    IS_GUARDED.get()
}

/// Runs `work`. Returns its result, or the message of its panic, after which nothing that it has changed may be used.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let was_guarded = IS_GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    IS_GUARDED.set(was_guarded);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        text.unwrap_or("a panic").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(
            guarded(|| if is_guarded() {
                panic!("for {}", "a reason")
            }),
            Err("for a reason".to_owned())
        );
        assert_eq!((guarded(|| 5), is_guarded()), (Ok(5), false));
    }

    #[test]
    fn a_guard_within_another_leaves_the_other() {
        assert_eq!(guarded(|| (guarded(|| 5), is_guarded())), Ok((Ok(5), true)));
    }
}
