//! Training on an S3 server a fifth of whose answers are errors, break off, get lost, or stay away. A binary of its own:
//! the credentials are in the environment of its process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use common::worker_contract::ExitCode;
use tests::faults::{Fault, Plan};
use tests::s3::Server;
use tests::scratch::{Scratch, losses};
use tests::training::{by_mpirun, run};

#[test]
fn training_on_a_failing_store_is_as_on_a_disk() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::start(root.path(), &["bucket"]);
    for (name, value) in server.environment() {
        // SAFETY: this binary's only test sets the environment before it starts the threads of storage, and the
        // server's thread never reads it.
        unsafe { std::env::set_var(name, value) };
    }
    let local = Scratch::new();
    run(by_mpirun(2, &local.config("run", &[])), ExitCode::Done, &[]);

    let scratch = Scratch::at("s3://bucket/shaken");
    let patience = ["storage.request_timeout_s=1", "storage.stall_timeout_s=1", "storage.backoff_max_ms=200"];
    let config = scratch.config("run", &patience);
    server.faults().follow(Plan::parse("rate=0.2,seed=3,silence_ms=1500").unwrap());
    run(by_mpirun(2, &config), ExitCode::Done, &[]);
    let faults = [Fault::SlowDown, Fault::InternalError, Fault::Reset, Fault::Cut, Fault::LostAnswer];
    assert!(faults.into_iter().map(|fault| server.faults().count(fault)).sum::<u64>() > 5);
    server.faults().follow(Plan::default());
    assert_eq!(losses(&scratch.url("run")), losses(&local.url("run")));
}
