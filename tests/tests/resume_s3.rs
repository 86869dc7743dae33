//! Data and run folder on S3: killed and restarted, with the losses of a run never interrupted. A binary of its own: the
//! credentials are in the environment of its process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unsafe_code, reason = "sets the environment, before other threads read it")]

use common::exit_code::ExitCode;
use nix::sys::signal::Signal;
use tests::process::{Running, send};
use tests::random::Random;
use tests::s3::Server;
use tests::scratch::{Scratch, losses};
use tests::training::{DEADLINE, by_launcher, by_mpirun, ended, run};

#[test]
fn killed_and_restarted_on_s3_is_as_never_interrupted() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::start(root.path(), &["bucket"]);
    for (name, value) in server.environment() {
        // SAFETY: this binary's only test sets the environment before it starts the threads of storage, and the
        // server's thread never reads it.
        unsafe { std::env::set_var(name, value) };
    }
    let local = Scratch::new();
    run(by_mpirun(2, &local.config("whole", &[])), ExitCode::Done, &[]);
    let never_interrupted = losses(&local.url("whole"));

    let (scratch, mut random) = (Scratch::at("s3://bucket/some where"), Random::fresh());
    let every = 3 + random.below(6);
    let config = scratch.config("run", &[&format!("checkpoint.every_steps={every}")]);
    let mut running = Running::start(by_launcher(2, &config));
    running.wait_for(&format!("committed s3://bucket/some%20where/run/checkpoints/step-{every:08}"), DEADLINE);
    send(*random.choose(&running.processes("worker")), Signal::SIGKILL);
    ended(running, ExitCode::Done, &["rank lost", "attempt 2:", "resumed from step-", "done: 40 steps"]);
    assert_eq!(never_interrupted.len(), 40);
    assert_eq!(losses(&scratch.url("run")), never_interrupted);
}
