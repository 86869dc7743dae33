//! Tests of ranks on this machine under Open MPI 5, of PyPI, where the programs were built with the system's.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::exit_code::ExitCode;
use common::sha256::hex_sha256;
use nix::sys::signal::Signal;
use tests::process::{Running, send};
use tests::scratch::{Scratch, losses};
use tests::servers::open_mpi_5;
use tests::training::{DEADLINE, by_launcher, by_mpirun, ended, run, turn, very_slowly};

/// Returns `launcher train` of 2 ranks with the Open MPI in `folder`: its mpirun is first on `PATH`, and the ranks load its
/// library.
fn with_open_mpi_of(folder: &Path, config: &Path) -> Command {
    let mut command = by_launcher(2, config);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", folder.join("bin").display()));
    command.env("LD_LIBRARY_PATH", folder.join("lib"));
    command
}

/// Returns what the run at `url`, or its Open MPI, has left in the folders that both use.
fn left_behind(url: &str) -> BTreeSet<String> {
    let own = format!("/dev/shm/convoy-{}", &hex_sha256(url.as_bytes())[..16]);
    let entries = ["/dev/shm", "/tmp"].into_iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path().display().to_string());
    paths.filter(|path| [&*own, "/prte", "/pmix", "/sm_"].iter().any(|part| path.contains(part))).collect()
}

#[test]
fn ranks_under_open_mpi_5_lose_each_other_resume_and_come_to_the_losses_of_4() {
    let _turn = turn();
    let Some(open_mpi) = open_mpi_5() else { return };
    let scratch = Scratch::new();
    let left = || left_behind(&scratch.url("run"));
    let before = left();
    let settings = ["train.max_steps=20", "checkpoint.every_steps=2", "evaluation.every_steps=0"];
    run(by_mpirun(2, &scratch.config("whole", &settings)), ExitCode::Done, &[]);

    let config = scratch.config("run", &settings);
    let mut running = Running::start(very_slowly(with_open_mpi_of(&open_mpi, &config)));
    running.wait_for("committed ", DEADLINE);
    send(running.processes("worker")[1], Signal::SIGKILL);
    running.wait_for("attempt 2: 2 ranks", DEADLINE);
    running.wait_for("resumed from ", DEADLINE);
    // The launcher's death ends the ranks, and the next launcher removes what they have left.
    running.signal(Signal::SIGKILL);
    running.finish_alone(DEADLINE);
    assert_ne!(left(), before, "nobody has removed it yet");
    let mut running = Running::start(very_slowly(with_open_mpi_of(&open_mpi, &config)));
    running.wait_for("resumed from ", DEADLINE);
    running.signal(Signal::SIGTERM);
    ended(running, ExitCode::Stopped, &["committed "]);
    run(with_open_mpi_of(&open_mpi, &config), ExitCode::Done, &["done: 20 steps"]);

    assert_eq!(losses(&scratch.url("run")), losses(&scratch.url("whole")));
    assert_eq!(left(), before);
}
