//! Tests of ranks that hang, and of a slow one: the launcher names the place and the rank, and continues.

use std::time::Duration;

use common::exit_code::ExitCode;
use nix::sys::signal::Signal;
use tests::process::{Running, send};
use tests::scratch::Scratch;
use tests::training::{DEADLINE, by_launcher, ended, run, turn};

#[test]
fn ranks_that_hang_leave_their_stacks_in_the_logs_and_nothing_else() {
    let _turn = turn();
    let scratch = Scratch::new();
    let settings = [
        "launch.stall_timeout_s=10",
        "launch.max_restarts=0",
        "parallel.timeout_s=8",
        "storage.deadline_s=6",
        "storage.request_timeout_s=2",
        "storage.stall_timeout_s=1",
    ];
    let mut command = by_launcher(2, &scratch.config("run", &settings));
    // Each exchange of a bucket ends on time, and its answer reaches the step a minute later.
    command.env("CONVOY_TEST_BUCKET_DELAY_MS", "60000");
    let words = ["no rank advanced for 10 s", "where its ranks were is in file://", "logs/attempt-0001"];
    run(command, ExitCode::Communication, &words);
    for rank in 0..2 {
        let log = scratch.folder("run").get(&format!("logs/attempt-0001/rank-{rank}.log")).unwrap();
        let log = String::from_utf8_lossy(&log);
        assert!(log.contains("(worker):\n"), "no stack of the main thread: {log}");
        for place in ["    train at ", "worker/src/train/mod.rs:", "worker/src/collectives/faulty.rs:"] {
            assert!(log.contains(place), "no {place} in {log}");
        }
    }
}

#[test]
fn a_slow_rank_is_named_with_its_host() {
    let _turn = turn();
    let scratch = Scratch::new();
    let settings = ["train.max_steps=400", "evaluation.every_steps=0", "checkpoint.every_steps=0"];
    let mut running = Running::start(by_launcher(2, &scratch.config("run", &settings)));
    running.wait_for("step      2/400", DEADLINE);
    // Two ranks need equal time, and one of them gets an eleventh of it.
    let slow = running.processes("worker")[1];
    running.wait_until("one is slow", DEADLINE, |running| {
        send(slow, Signal::SIGSTOP);
        std::thread::sleep(Duration::from_millis(100));
        send(slow, Signal::SIGCONT);
        running.printed().contains(" is slow: ").then_some(())
    });
    running.signal(Signal::SIGTERM);
    let text = ended(running, ExitCode::Stopped, &[" is slow: a step keeps it busy for "]);
    let host = common::host_name::host_name();
    assert!(text.contains(&format!(" on {host} is slow")), "{text}");
}
