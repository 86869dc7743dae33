//! Runtime behind operations that block their callers.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

/// Threads that do I/O for every [`Folder`](super::Folder) of this process.
pub(super) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("storage")
        .enable_all()
        .build()
        .unwrap_or_else(|e| panic!("cannot start the storage threads: {e}"))
});
