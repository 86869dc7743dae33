//! Tests of checkpoints on the ranks' hosts, between those in the run folder. A run resumes from them where every rank has
//! its part, and from the run folder where one has lost it. Every loss equals, in all digits, that of a run that was never
//! interrupted.
//!
//! Every rank has a folder of its own, so a host loses its checkpoints when its folder is deleted.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use common::checkpoint_store;
use common::config::StorageConfig;
use common::exit_code::ExitCode;
use common::storage::Folder;
use nix::sys::signal::Signal;
use tests::process::{Running, send};
use tests::scratch::{Scratch, losses};
use tests::training::{DEADLINE, by_launcher, by_mpirun, run, turn, very_slowly};

const SETTINGS: [&str; 6] = [
    "train.max_steps=20",
    "evaluation.every_steps=0",
    "checkpoint.every_steps=7",
    "checkpoint.local_every_steps=2",
    "checkpoint.keep_last=0",
    // With this, no save is left out on a slow disk.
    "checkpoint.when_busy=wait",
];

/// Losses of an undisturbed run.
static UNDISTURBED: LazyLock<BTreeMap<u64, f64>> = LazyLock::new(|| {
    let scratch = Scratch::new();
    run(by_mpirun(2, &scratch.config("whole", &SETTINGS[..3])), ExitCode::Done, &[]);
    losses(&scratch.url("whole"))
});

/// A run of 2 ranks that was killed after a save on the hosts, to be copied with its checkpoints there.
struct Killed {
    scratch: Scratch,
    zero: &'static str,
}

impl Killed {
    fn new(zero: &'static str) -> Self {
        let killed = Killed { scratch: Scratch::new(), zero };
        let mut running = Running::start(very_slowly(by_mpirun(2, &killed.config("run"))));
        running.wait_until("a save on the hosts", DEADLINE, |running| {
            running
                .printed()
                .lines()
                .any(|line| line.contains("hosts-run") && line.contains("step-00000010"))
                .then_some(())
        });
        for program in ["mpirun", "worker"] {
            running.processes(program).into_iter().for_each(|pid| send(pid, Signal::SIGKILL));
        }
        running.finish_alone(DEADLINE);
        killed
    }

    fn config(&self, name: &str) -> PathBuf {
        let hosts = format!("checkpoint.local_dir={}", self.hosts(name).display());
        self.scratch.config(name, &[&SETTINGS[..], &[self.zero, &hosts]].concat())
    }

    fn hosts(&self, name: &str) -> PathBuf {
        self.scratch.path().join(format!("hosts-{name}"))
    }

    /// Returns the folder of rank `rank` of 2.
    fn host(&self, name: &str, rank: u32) -> PathBuf {
        let of_run = fs::read_dir(self.hosts(name)).unwrap().next().unwrap().unwrap();
        of_run.path().join(format!("rank-{:05}-of-00002", rank + 1))
    }

    /// Returns the steps of the checkpoints in a folder that is laid out as a run's, oldest first.
    fn steps(folder: &str) -> Vec<u64> {
        let folder = Folder::open(folder, &StorageConfig::default()).unwrap();
        let found = checkpoint_store::list(&folder).unwrap();
        found.iter().filter(|found| found.counts()).map(|found| found.name.step).collect()
    }

    /// Returns the steps of the checkpoints on both hosts, all newer than those in the run folder.
    fn on_hosts(&self) -> [u64; 2] {
        let [one, two] = [0, 1].map(|rank| Self::steps(&self.host("run", rank).display().to_string()));
        assert!(one == two && one[0] > self.in_run(), "{one:?}, {two:?}");
        one.try_into().unwrap()
    }

    /// Returns the step of the newest checkpoint in the run folder.
    fn in_run(&self) -> u64 {
        *Self::steps(&self.scratch.url("run")).last().unwrap()
    }

    /// Copies the killed run, as another one.
    fn fork(&self, name: &str) {
        for (from, to) in [("run", name), ("hosts-run", &format!("hosts-{name}"))] {
            let [from, to] = [from, to].map(|name| self.scratch.path().join(name));
            assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
        }
    }

    /// Resumes with `ranks` ranks, and checks that the run finishes and prints `words`.
    fn goes_on(&self, name: &str, ranks: u32, words: &[&str]) -> String {
        let text = run(by_mpirun(ranks, &self.config(name)), ExitCode::Done, words);
        let got = losses(&self.scratch.url(name));
        match ranks {
            2 => assert_eq!(got, *UNDISTURBED, "{name}"),
            _ => assert_eq!(got.len(), UNDISTURBED.len(), "{name}"),
        }
        text
    }
}

/// Checks that the run resumed after `step`, from the hosts or from the run folder.
fn assert_resumed(text: &str, step: u64, is_on_hosts: bool) {
    let line = text.lines().find(|line| line.contains("resumed from ")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains(&format!("resumed from step-{step:08}-")), "expected step {step}: {line}");
    assert_eq!(line.contains(" in checkpoint.local_dir"), is_on_hosts, "{line}");
}

#[test]
fn a_killed_run_resumes_from_its_hosts_or_from_the_run_folder_where_one_has_lost_its_part() {
    let _turn = turn();
    let killed = Killed::new("parallel.zero=0");
    let ([_, newest], in_run) = (killed.on_hosts(), killed.in_run());

    killed.fork("emptied");
    fs::remove_dir_all(killed.host("emptied", 1)).unwrap();
    let text = killed.goes_on("emptied", 2, &["rank 1 has no part of it"]);
    assert_resumed(&text, in_run, false);

    killed.fork("three");
    let text = killed.goes_on("three", 3, &[]);
    assert_resumed(&text, in_run, false);
    assert!(!killed.host("three", 0).exists(), "what other world sizes have left goes");

    let text = killed.goes_on("run", 2, &[]);
    assert_resumed(&text, newest, true);
}

#[test]
fn all_ranks_go_back_to_the_older_one_on_their_hosts_where_the_part_of_one_is_damaged() {
    let _turn = turn();
    let killed = Killed::new("parallel.zero=1");
    let [older, newest] = killed.on_hosts();
    damage(&killed.host("run", 1), newest);
    let text = killed.goes_on("run", 2, &["skipped a checkpoint: rank 1: ", "have SHA-256"]);
    assert_resumed(&text, older, true);
}

/// Flips a bit of every object of this rank in its checkpoint of `step`.
fn damage(host: &std::path::Path, step: u64) {
    let folders = fs::read_dir(host.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path());
    let folder =
        folders.into_iter().find(|path| path.display().to_string().contains(&format!("step-{step:08}"))).unwrap();
    for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if file.display().to_string().ends_with(".safetensors") {
            let mut content = fs::read(&file).unwrap();
            let middle = content.len() / 2;
            content[middle] ^= 4;
            fs::write(file, content).unwrap();
        }
    }
}

#[test]
fn a_run_that_is_begun_anew_takes_nothing_from_the_one_before() {
    let _turn = turn();
    let killed = Killed::new("parallel.zero=0");
    fs::remove_dir_all(killed.scratch.path().join("run")).unwrap();
    let text = run(by_launcher(2, &killed.config("run")), ExitCode::Done, &["committed "]);
    assert!(!text.contains("resumed from"), "{text}");
    assert_eq!(losses(&killed.scratch.url("run")), *UNDISTURBED);
}

#[test]
fn a_host_without_room_costs_the_run_nothing() {
    let _turn = turn();
    let scratch = Scratch::new();
    fs::write(scratch.path().join("hosts"), "a file where a folder should be").unwrap();
    let hosts = format!("checkpoint.local_dir={}", scratch.path().join("hosts").display());
    let config = scratch.config("run", &[&SETTINGS[..], &[&hosts, "checkpoint.max_failures=1"]].concat());
    run(by_mpirun(2, &config), ExitCode::Done, &["in checkpoint.local_dir failed: rank 0: "]);
    assert_eq!(losses(&scratch.url("run")), *UNDISTURBED);
}
