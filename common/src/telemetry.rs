//! Set-up of tracing for every binary: plain lines on standard error, filtered by `RUST_LOG`.

use std::io;

use tracing_subscriber::EnvFilter;

/// Starts logging for this process. Standard output stays free for results.
///
/// By default warnings are shown, and everything from Convoy's crates at `info`. `RUST_LOG` overrides that. The Kubernetes
/// client prints an error for each of its many tries; it is silenced, since the launcher reports them once.
pub fn init() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,common=info,worker=info,prepare=info,launcher=info,kube_client=off"));
    // A second call (in tests) keeps the first subscriber.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .try_init();
}
