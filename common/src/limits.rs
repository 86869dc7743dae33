//! Limits of the system that a process meets where no error can be returned: libraries panic when a thread or a file is refused.

use std::panic::PanicHookInfo;

use crate::exit_code::ExitCode;

/// Limit of the system: what was refused, and what to raise.
type Limit = (&'static str, &'static str);

const THREADS: Limit =
    ("threads", "`ulimit -u`, or the limit of processes that the container, the pod or the service has");
const FILES: Limit = ("open files", "`ulimit -n`, or the limit of open files that the container or the service has");

/// Messages in which the standard library, tokio, rayon and Convoy's storage report a refusal.
const REFUSALS: [(&str, Limit); 5] = [
    ("Too many open files", FILES),
    ("failed to spawn thread", THREADS),
    ("OS can't spawn worker thread", THREADS),
    ("cannot start the storage threads", THREADS),
    ("ThreadPoolBuildError", THREADS),
];

/// Returns a message and an exit code for a panic. A panic is a bug, unless the system refused a thread or a file.
pub fn describe_panic(panic: &PanicHookInfo<'_>) -> (String, ExitCode) {
    match panic.payload_as_str().and_then(refused) {
        Some(message) => (message, ExitCode::Config),
        None => (format!("bug: {panic}; please report it with these lines"), ExitCode::Bug),
    }
}

fn refused(message: &str) -> Option<String> {
    let (_, (what, limit)) = REFUSALS.iter().find(|(words, _)| message.contains(words))?;
    Some(format!("the system grants this process no more {what} ({message}): raise {limit}"))
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;
    use std::thread::Builder;

    use super::*;

    #[test]
    fn a_refused_thread_or_file_is_told_from_a_bug() {
        // No system has room for such a stack.
        let refuse =
            || std::thread::scope(|scope| Builder::new().stack_size(1 << 60).spawn_scoped(scope, || ()).map(drop));
        let panic = catch_unwind(|| refuse().expect("failed to spawn thread")).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(refused(message).unwrap().contains("ulimit -u"), "{message}");
        let message = format!("failed to create UnixStream: {:?}", std::io::Error::from_raw_os_error(libc::EMFILE));
        assert!(refused(&message).unwrap().contains("ulimit -n"), "{message}");
        assert_eq!(refused("index out of bounds: the len is 0 but the index is 0"), None);
    }
}
