//! Tests of runs that are killed, stopped or lost, and resumed: every loss equals, in all digits, that of a run that was
//! never interrupted.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use common::checkpoint_store;
use common::exit_code::ExitCode;
use nix::sys::signal::Signal;
use tests::process::{Running, send};
use tests::random::Random;
use tests::scratch::{Scratch, losses};
use tests::training::{DEADLINE, by_launcher, by_mpirun, ended, run, turn};

/// Setting with which the only checkpoint is the one that a stop saves.
const NO_SAVES: [&str; 1] = ["checkpoint.every_steps=0"];

/// Losses of a run that was never interrupted.
static NEVER_INTERRUPTED: LazyLock<BTreeMap<u64, f64>> = LazyLock::new(|| {
    let scratch = Scratch::new();
    run(by_mpirun(2, &scratch.config("whole", &NO_SAVES)), ExitCode::Done, &[]);
    let losses = losses(&scratch.url("whole"));
    assert!(losses.keys().copied().eq(1..=40));
    losses
});

#[test]
fn a_killed_rank_is_restarted() {
    let _turn = turn();
    let (scratch, mut random) = (Scratch::new(), Random::fresh());
    let every = 3 + random.below(6);
    let config = scratch.config("run", &[&format!("checkpoint.every_steps={every}")]);
    let mut running = Running::start(by_launcher(2, &config));
    // The launcher shows the first steps, and then the first checkpoint, which is committed some steps after its own.
    let moments = ["step      1/40", "step      3/40", "committed ", "committed ", "committed ", "committed "];
    let moment = *random.choose(&moments);
    running.wait_for(moment, DEADLINE);
    let can_resume = running.printed().contains("committed ");
    send(*random.choose(&running.processes("worker")), Signal::SIGKILL);
    let text = ended(running, ExitCode::Done, &["rank lost", "attempt 2:", "done: 40 steps"]);
    assert!(!can_resume || text.contains("resumed from step-"), "{text}");
    assert_eq!(losses(&scratch.url("run")), *NEVER_INTERRUPTED);
}

#[test]
fn all_ranks_are_killed_and_started_again() {
    let _turn = turn();
    let (scratch, mut random) = (Scratch::new(), Random::fresh());
    let config = scratch.config("run", &["checkpoint.every_steps=3"]);
    let mut running = Running::start(by_mpirun(2, &config));
    let moment = format!("step {}/40", random.choose(&[1, 3, 5, 6, 7, 8, 9, 10, 20]));
    running.wait_for(&moment, DEADLINE);
    let can_resume = running.printed().contains("committed ");
    for program in ["mpirun", "worker"] {
        running.processes(program).into_iter().for_each(|pid| send(pid, Signal::SIGKILL));
    }
    running.finish_alone(DEADLINE);
    let text = run(by_mpirun(2, &config), ExitCode::Done, &[]);
    assert!(!can_resume || text.contains("resumed from step-"), "{text}");
    assert_eq!(losses(&scratch.url("run")), *NEVER_INTERRUPTED);
}

#[test]
fn sigterm_to_the_launcher_saves_and_stops() {
    stops_and_goes_on(by_launcher, "step      3/40", Signal::SIGTERM);
}

#[test]
fn ctrl_c_saves_and_stops() {
    stops_and_goes_on(by_launcher, "step      3/40", Signal::SIGINT);
}

#[test]
fn sigusr2_to_mpirun_saves_and_stops() {
    stops_and_goes_on(by_mpirun, "step 3/40", Signal::SIGUSR2);
}

/// Stops a run by `signal` once it has printed `moment`, and runs the command again.
fn stops_and_goes_on(command: fn(u32, &Path) -> Command, moment: &str, signal: Signal) {
    let _turn = turn();
    let scratch = Scratch::new();
    let config = scratch.config("run", &NO_SAVES);
    let mut running = Running::start(command(2, &config));
    running.wait_for(moment, DEADLINE);
    running.signal(signal);
    ended(running, ExitCode::Stopped, &["committed "]);
    let steps_before = losses(&scratch.url("run")).len();
    assert!((3..40).contains(&steps_before), "{steps_before}");
    run(command(2, &config), ExitCode::Done, &[&format!("resumed from step-{steps_before:08}")]);
    assert_eq!(losses(&scratch.url("run")), *NEVER_INTERRUPTED);
}

/// Stochastic rounding of weights resumes exactly.
#[test]
fn a_run_in_bfloat16_is_stopped_and_goes_on() {
    let _turn = turn();
    let chance = ["train.precision=bfloat16", "train.stochastic_rounding=true", "optimizer.decay_steps=40"];
    for zero in ["parallel.zero=0", "parallel.zero=1"] {
        let scratch = Scratch::new();
        let config = |name: &str, steps| scratch.config(name, &[&chance[..], &NO_SAVES, &[zero, steps]].concat());
        run(by_mpirun(2, &config("whole", "train.max_steps=8")), ExitCode::Done, &[]);
        run(by_mpirun(2, &config("run", "train.max_steps=4")), ExitCode::Done, &[]);
        run(by_mpirun(2, &config("run", "train.max_steps=8")), ExitCode::Done, &["resumed from step-00000004"]);
        assert_eq!(losses(&scratch.url("run")), losses(&scratch.url("whole")), "{zero}");
    }
}

/// With ZeRO-1 each rank reads moments that no other rank reads; all ranks act on what one of them finds.
#[test]
fn all_ranks_go_back_where_one_has_found_its_part_damaged() {
    let _turn = turn();
    let scratch = Scratch::new();
    let settings =
        ["checkpoint.every_steps=10", "checkpoint.keep_last=0", "parallel.zero=1", "optimizer.decay_steps=40"];
    let config = |more: &[&str]| scratch.config("run", &[&settings[..], more].concat());
    run(by_mpirun(2, &config(&["train.max_steps=20"])), ExitCode::Done, &[]);
    let folder = scratch.folder("run");
    let newest = checkpoint_store::newest(&folder).unwrap().unwrap();
    let object = "optimizer-00002-of-00002.safetensors";
    let path = scratch.path().join("run/checkpoints").join(newest.to_string()).join(object);
    let mut content = std::fs::read(&path).unwrap();
    let last = content.len() - 1;
    content[last] ^= 1;
    std::fs::write(&path, content).unwrap();
    let words = ["rank 1: file://", object, "have SHA-256", "restore another checkpoint"];
    run(by_mpirun(2, &config(&["checkpoint.on_corrupt=stop"])), ExitCode::Data, &words);
    let words = ["skipped a checkpoint: file://", object, "resumed from step-00000010-", "saved by 2 ranks"];
    run(by_mpirun(2, &config(&[])), ExitCode::Done, &words);
    assert_eq!(losses(&scratch.url("run")), *NEVER_INTERRUPTED);
}

#[test]
fn a_rank_that_hangs_is_noticed_by_the_others() {
    let _turn = turn();
    let scratch = Scratch::new();
    let config = scratch.config(
        "run",
        &[
            "train.max_steps=1000",
            "checkpoint.every_steps=0",
            "launch.max_restarts=0",
            "storage.deadline_s=2",
            "parallel.timeout_s=5",
        ],
    );
    let words = ["over MPI on host ", "did not end within 5 s (parallel.timeout_s)"];
    let told = ["what each rank did last:", "not heard from for "];
    for (command, moment, words) in [
        (by_launcher(3, &config), "step      3/", [&words[..], &told].concat()),
        (by_mpirun(3, &config), "step 3/", words.to_vec()),
    ] {
        let mut running = Running::start(command);
        running.wait_for(moment, DEADLINE);
        send(running.processes("worker")[0], Signal::SIGSTOP);
        let since = Instant::now();
        let text = ended(running, ExitCode::Communication, &words);
        if words.contains(&told[0]) {
            let is_in_one =
                |line: &&str| line.contains("completed; in all-reduce (") && !line.contains("not heard from");
            assert_eq!(text.lines().filter(is_in_one).count(), 2, "both of the others:\n{text}");
        }
        // The bound is the 5 s of the other ranks, and several times that for busy machines.
        assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    }
}
