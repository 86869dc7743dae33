//! Tests that one attempt at a time holds a run. A second one is refused while the first lives, and takes over when the first
//! is dead, or only seemed to be; the older one then commits nothing any more. Nor does one with a deleted run folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use common::attempt::{History, claim_of};
use common::checkpoint_store;
use common::exit_code::ExitCode;
use nix::sys::signal::Signal;
use tests::process::{Running, launcher, send};
use tests::scratch::{Scratch, losses};
use tests::training::{DEADLINE, by_launcher, by_mpirun, ended, run, slowly, turn, very_slowly};

/// Settings with frequent saves, and claims that expire soon.
const SETTINGS: [&str; 4] =
    ["train.max_steps=20", "evaluation.every_steps=0", "checkpoint.every_steps=2", "launch.claim_expiry_s=3"];

/// Losses of an undisturbed run.
static UNDISTURBED: LazyLock<BTreeMap<u64, f64>> = LazyLock::new(|| {
    let scratch = Scratch::new();
    run(by_mpirun(2, &scratch.config("whole", &SETTINGS)), ExitCode::Done, &[]);
    losses(&scratch.url("whole"))
});

/// Sends `signal` to `running` and all its descendants, the launcher first.
fn send_all(running: &Running, signal: Signal) {
    for program in ["launcher", "mpirun", "worker"] {
        running.processes(program).into_iter().for_each(|pid| send(pid, signal));
    }
}

/// Checks that no checkpoint of attempt 1 counts that is later than what attempt 2 started from, and that the losses are
/// those of an undisturbed run.
fn assert_second_went_on(scratch: &Scratch) {
    let folder = scratch.folder("run");
    let found = checkpoint_store::list(&folder).unwrap();
    let newest = found.iter().rfind(|found| found.counts()).unwrap();
    assert_eq!((newest.name.step, newest.name.attempt), (20, 2));
    assert_eq!(History::read(&folder).unwrap().newest(), 2);
    assert_eq!(losses(&scratch.url("run")), *UNDISTURBED);
}

#[test]
fn a_second_run_on_the_same_output_is_refused_while_the_first_lives() {
    let _turn = turn();
    for (first, moment, stop) in [
        (by_launcher as fn(u32, &Path) -> Command, "step      3/20", Signal::SIGTERM),
        (by_mpirun, "step 3/20", Signal::SIGUSR2),
    ] {
        let scratch = Scratch::new();
        let config = scratch.config("run", &SETTINGS);
        let mut command = first(2, &config);
        // No run of the others ends before this one is told to.
        command.env("CONVOY_TEST_BUCKET_DELAY_MS", "2000");
        let mut running = Running::start(command);
        running.wait_for(moment, DEADLINE);
        let words = ["run is in use: attempt 1 (process ", " on host ", ", 2 ranks) holds it", "stop it first"];
        run(by_launcher(2, &config), ExitCode::Config, &words);
        run(by_mpirun(2, &config), ExitCode::Config, &words);
        running.signal(stop);
        ended(running, ExitCode::Stopped, &["committed "]);
        // The run has ended and holds nothing, so the next one need not wait.
        let text = run(first(2, &config), ExitCode::Done, &["resumed from step-"]);
        assert!(!text.contains("may still hold this run"), "{text}");
        assert_eq!(losses(&scratch.url("run")), *UNDISTURBED);
    }
}

#[test]
fn a_run_that_was_suspended_commits_nothing_once_another_has_taken_it_over() {
    let _turn = turn();
    for first in [by_launcher as fn(u32, &Path) -> Command, by_mpirun] {
        let scratch = Scratch::new();
        let config = scratch.config("run", &SETTINGS);
        let mut zombie = Running::start(slowly(first(2, &config)));
        zombie.wait_for("committed ", DEADLINE);
        send_all(&zombie, Signal::SIGSTOP);
        let words = ["attempt 1 (process ", "may still hold this run: waiting up to 3 s", "resumed from step-"];
        run(by_launcher(2, &config), ExitCode::Done, &words);
        send_all(&zombie, Signal::SIGCONT);
        ended(zombie, ExitCode::Config, &["commits nothing any more: attempt 2 has taken the run over"]);
        assert_second_went_on(&scratch);
    }
}

/// Deletes a folder into which others may still write.
fn delete(folder: &str) {
    let folder = folder.strip_prefix("file://").unwrap_or(folder);
    while let Err(error) = std::fs::remove_dir_all(folder) {
        assert_eq!(error.kind(), std::io::ErrorKind::DirectoryNotEmpty, "{error}");
    }
}

#[test]
fn a_run_whose_folder_is_deleted_ends_itself_and_commits_nothing_to_the_run_begun_anew() {
    let _turn = turn();
    for first in [by_launcher as fn(u32, &Path) -> Command, by_mpirun] {
        let scratch = Scratch::new();
        let config = scratch.config("run", &SETTINGS);
        let mut bereft = Running::start(very_slowly(first(2, &config)));
        bereft.wait_for("committed ", DEADLINE);
        delete(&scratch.url("run"));
        run(by_launcher(2, &config), ExitCode::Done, &[]);
        let words = ["attempt 1 of ", "commits and deletes nothing any more", "was deleted, or begun anew"];
        ended(bereft, ExitCode::Config, &words);
        let folder = scratch.folder("run");
        let claim = claim_of(&folder, 1).unwrap();
        let committed = checkpoint_store::list(&folder).unwrap();
        let committed: Vec<_> = committed.iter().filter(|found| found.committed).collect();
        assert!(committed.iter().all(|found| found.counts() && claim.has_saved(&found.name)), "{committed:?}");
        assert_eq!(committed.last().unwrap().name.step, 20);
        assert_eq!(History::read(&folder).unwrap().newest(), 1);
    }
}

#[test]
fn ranks_whose_launcher_was_killed_commit_nothing_once_another_has_taken_the_run_over() {
    let _turn = turn();
    let scratch = Scratch::new();
    let config = scratch.config("run", &SETTINGS);
    let mut orphaned = Running::start(slowly(by_launcher(2, &config)));
    orphaned.wait_for("committed ", DEADLINE);
    orphaned.processes("launcher").into_iter().for_each(|pid| send(pid, Signal::SIGKILL));
    // The process is gone, which is noticed at once on its own machine.
    let text = run(by_launcher(2, &config), ExitCode::Done, &["resumed from step-"]);
    assert!(!text.contains("may still hold this run"), "{text}");
    orphaned.finish_alone(DEADLINE);
    assert_second_went_on(&scratch);
}

#[test]
fn a_run_is_asked_for_a_checkpoint_from_elsewhere() {
    let _turn = turn();
    for (first, moment) in [(by_launcher as fn(u32, &Path) -> Command, "step      3/20"), (by_mpirun, "step 3/20")] {
        let scratch = Scratch::new();
        let config = scratch.config("run", &[&SETTINGS[..], &["checkpoint.every_steps=0"]].concat());
        let save = || {
            let mut command = Command::new(launcher());
            command.args(["checkpoints", "save", &scratch.url("run")]);
            command
        };
        run(save(), ExitCode::Config, &["there is no folder ", "which `launcher train` makes"]);
        let mut running = Running::start(very_slowly(first(2, &config)));
        running.wait_for(moment, DEADLINE);
        let text = run(save(), ExitCode::Done, &["asked attempt 1 (process ", "/run/checkpoints/step-"]);
        assert!(!text.contains("step-00000020"), "it was the last save that answered: {text}");
        ended(running, ExitCode::Done, &["committed "]);
        assert_eq!(losses(&scratch.url("run")), *UNDISTURBED);
    }
}

#[test]
fn sigusr1_asks_for_a_checkpoint() {
    let _turn = turn();
    let scratch = Scratch::new();
    let mut running = Running::start(slowly(by_mpirun(
        2,
        &scratch.config("run", &[&SETTINGS[..], &["checkpoint.every_steps=0"]].concat()),
    )));
    running.wait_for("step 3/20", DEADLINE);
    running.signal(Signal::SIGUSR1);
    running.wait_for("committed ", DEADLINE);
    assert!(!running.printed().contains("step-00000020"), "{}", running.printed());
    ended(running, ExitCode::Done, &["step-00000020"]);
}
