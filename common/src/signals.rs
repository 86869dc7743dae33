//! Signals that a process was started to ignore.

/// Returns whether `signal` was ignored when this process began, as SIGHUP is under `nohup`. Must be called before a handler
/// is set.
#[allow(unsafe_code, reason = "asks the C library what a signal does")]
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY: zeros are a valid action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is set; `action` is written.
    let is_known = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) } == 0;
    is_known && action.sa_sigaction == libc::SIG_IGN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_rust_ignores_is_told_from_one_that_nobody_does() {
        assert!(is_ignored(libc::SIGPIPE) && !is_ignored(libc::SIGWINCH));
    }
}
