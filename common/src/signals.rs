//! Signals that whoever started a process wants it not to hear.

/// Whether `signal` was ignored when this process began, as `nohup` has it for SIGHUP; to be asked before anybody handles it here.
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
