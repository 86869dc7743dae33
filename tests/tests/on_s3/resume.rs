//! Tests with data and run folder on S3: killed and restarted, with the losses of a run that was never interrupted.

use std::sync::LazyLock;

use common::exit_code::ExitCode;
use nix::sys::signal::Signal;
use tests::process::{Running, send};
use tests::random::Random;
use tests::scratch::{Scratch, losses};
use tests::training::{DEADLINE, by_launcher, by_mpirun, ended, run, turn};

use super::SERVER;

#[test]
fn killed_and_restarted_on_s3_is_as_never_interrupted() {
    LazyLock::force(&SERVER);
    let _turn = turn();
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
