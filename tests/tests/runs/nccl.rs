//! Tests of `parallel.collectives = "nccl"` as a user sets it. A stand-in for NCCL (`tests/nccl-stand-in`) is loaded in its
//! place: they test all that Convoy does around NCCL, and nothing of NCCL itself.

use std::process::Command;
use std::time::{Duration, Instant};

use common::exit_code::ExitCode;
use nix::sys::signal::Signal;
use tests::process::{Running, program, send};
use tests::scratch::{Scratch, losses};
use tests::training::{DEADLINE, by_launcher, by_mpirun, ended, run, turn};

const NCCL: &str = "parallel.collectives=nccl";

fn over_the_stand_in(mut command: Command) -> Command {
    command.env("CONVOY_NCCL_LIBRARY", program("libnccl_stand_in.so"));
    command
}

#[test]
fn training_over_it_gives_the_losses_of_mpi() {
    let _turn = turn();
    let scratch = Scratch::new();
    let words = ["a stand-in for NCCL is loaded, which is for tests", "all-reduce between 2 ranks on 1 host: "];
    for zero in ["0", "1"] {
        let settings = [format!("parallel.zero={zero}"), "parallel.bucket_bytes=200000".to_owned()];
        let train = |name: &str, more: &[&str], words: &[&str]| {
            let name = format!("{name}-zero-{zero}");
            let settings: Vec<&str> = settings.iter().map(String::as_str).chain(more.iter().copied()).collect();
            run(over_the_stand_in(by_mpirun(2, &scratch.config(&name, &settings))), ExitCode::Done, words);
            losses(&scratch.url(&name))
        };
        // The sum of two numbers does not depend on their order.
        assert_eq!(train("nccl", &[NCCL], &words), train("mpi", &[], &[]), "zero {zero}");
    }
}

#[test]
fn a_rank_that_hangs_is_noticed_by_the_others() {
    let _turn = turn();
    let scratch = Scratch::new();
    let config = scratch.config(
        "run",
        &[NCCL, "train.max_steps=1000", "launch.max_restarts=0", "storage.deadline_s=2", "parallel.timeout_s=5"],
    );
    // Exchanges take so long that the rank is stopped inside one.
    let slow = |mut command: Command| {
        command.env("CONVOY_STAND_IN_DELAY_MS", "2000");
        over_the_stand_in(command)
    };
    let words = ["over NCCL on host ", "did not end within 5 s (parallel.timeout_s)"];
    let told = ["what each rank did last:", "not heard from for ", "completed; in all-reduce (gradients, bucket 0)"];
    for (command, moment, words) in [
        (by_launcher(2, &config), "step      1/", [&words[..], &told].concat()),
        (by_mpirun(2, &config), "step 1/", words.to_vec()),
    ] {
        let mut running = Running::start(slow(command));
        running.wait_for(moment, DEADLINE);
        send(running.processes("worker")[0], Signal::SIGSTOP);
        let since = Instant::now();
        ended(running, ExitCode::Communication, &words);
        // The bound is the 5 s of the other ranks, and several times that for busy machines.
        assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    }
}

#[test]
fn without_nccl_a_run_says_what_to_install() {
    let _turn = turn();
    let scratch = Scratch::new();
    let mut command = by_launcher(2, &scratch.config("run", &[NCCL]));
    command.env("CONVOY_NCCL_LIBRARY", "/nowhere/libnccl.so.2");
    let words = ["NCCL cannot be loaded", "/nowhere/libnccl.so.2", "CONVOY_CUDA=1 make setup"];
    run(command, ExitCode::Config, &words);
}

#[test]
fn without_a_gpu_a_run_on_gpus_is_refused() {
    let _turn = turn();
    let scratch = Scratch::new();
    let mut command = by_launcher(2, &scratch.config("run", &["run.device=cuda"]));
    // A GPU of this machine cannot be seen.
    command.env("CUDA_VISIBLE_DEVICES", "");
    run(command, ExitCode::Config, &["run.device = \"cuda\": libtorch's CUDA library"]);
}

#[test]
fn one_rank_has_no_use_for_nccl() {
    let _turn = turn();
    let scratch = Scratch::new();
    let config = scratch.config("run", &[NCCL]);
    run(over_the_stand_in(by_launcher(1, &config)), ExitCode::Config, &["there is one rank, which exchanges nothing"]);
}
