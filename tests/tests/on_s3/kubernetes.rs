//! Runs in a cluster with processes for pods, with a launcher at a desk, and without one (`--detach`). Ranks, mpirun and the
//! object store are real; the cluster is a stand-in ([`tests::cluster`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::exit_code::ExitCode;
use common::storage::Folder;
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::cluster::Cluster;
use tests::process::{Running, both, launcher, run_with_deadline, send};
use tests::remote_shell;
use tests::scratch::{Scratch, losses};
use tests::staged;
use tests::training::{DEADLINE, by_mpirun, ended, run, turn};

use super::SERVER;

/// A cluster, a store, and the losses of an undisturbed run.
struct Rig {
    scratch: Scratch,
    cluster: Cluster,
    undisturbed: BTreeMap<u64, f64>,
}

impl Rig {
    fn config(&self, name: &str) -> PathBuf {
        let mut overrides = self.launch();
        overrides.extend(["checkpoint.every_steps=5", "train.max_steps=20"].map(str::to_owned));
        self.scratch.config(name, &overrides.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Returns the settings for two ranks in two pods.
    fn launch(&self) -> Vec<String> {
        let shell = remote_shell::write(self.scratch.path());
        let forwarded = ["CONVOY_TEST_PROCESS", "CONVOY_TEST_BUCKET_DELAY_MS"];
        vec![
            "launch.backend=kubernetes".to_owned(),
            "launch.ranks=2".to_owned(),
            "launch.claim_expiry_s=2".to_owned(),
            "launch.control_address=127.0.0.1".to_owned(),
            format!("launch.remote_shell={}", shell.display()),
            format!("launch.forward_environment={forwarded:?}"),
        ]
    }

    /// Returns the launcher, with what it needs to reach the cluster.
    fn launcher(&self) -> Command {
        let mut command = Command::new(launcher());
        command.env("KUBECONFIG", self.cluster.kubeconfig()).env_remove("RUST_LOG");
        command
    }

    fn launcher_with(&self, arguments: &[&str], config: &Path) -> Command {
        let mut command = self.launcher();
        command.args(arguments).arg("--config").arg(config);
        command
    }

    /// Waits until `launcher status` of run `name` prints `text`.
    fn wait_for(&self, name: &str, text: &str) {
        let end = Instant::now() + DEADLINE;
        loop {
            let mut status = Command::new(launcher());
            status.args(["status", &self.scratch.url(name)]);
            let said = both(&run_with_deadline(status, DEADLINE));
            if said.contains(text) {
                return;
            }
            assert!(Instant::now() < end, "no {text:?} in:\n{said}\n{}", self.cluster.printed());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until no pod has a rank of `program` any more: pods that are deleted have their notice first.
    fn wait_for_the_end_of(&self, program: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.cluster.processes(program).is_empty() {
            assert!(Instant::now() < end, "ranks are left: {}", self.cluster.printed());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn assert_as_undisturbed(&self, name: &str) {
        assert_eq!(losses(&self.scratch.url(name)), self.undisturbed, "{name}");
    }
}

#[test]
fn a_run_in_a_cluster_comes_to_its_end_whatever_is_killed() {
    let (server, _) = &*SERVER;
    let _turn = turn();
    let mut environment = server.environment();
    environment.push(("CONVOY_TEST_BUCKET_DELAY_MS".into(), "200".into()));
    let scratch = Scratch::at("s3://bucket/runs");
    run(
        by_mpirun(2, &scratch.config("whole", &["checkpoint.every_steps=5", "train.max_steps=20"])),
        ExitCode::Done,
        &[],
    );
    let undisturbed = losses(&scratch.url("whole"));
    assert_eq!(undisturbed.len(), 20);
    let rig = Rig { scratch, cluster: Cluster::start(&launcher(), &environment), undisturbed };
    for part in [
        a_rank_is_killed,
        the_supervisor_is_killed,
        a_stop_is_asked_for,
        an_evaluation_loses_a_rank,
        an_evaluation_is_stopped,
        a_prepare_job_loses_a_rank_and_is_stopped,
        a_prepare_job_goes_on_by_itself,
    ] {
        let start = Instant::now();
        part(&rig);
        println!("{:.0} s", start.elapsed().as_secs_f64());
    }
}

fn a_rank_is_killed(rig: &Rig) {
    let config = rig.config("at-a-desk");
    let mut running = Running::start(rig.launcher_with(&["train"], &config));
    running.wait_for("step-00000005", DEADLINE);
    send(rig.cluster.processes("worker")[0], Signal::SIGKILL);
    ended(
        running,
        ExitCode::Done,
        &["rank lost", "MPIJob at-a-desk-a0002 applied", "resumed from step-", "done: 20 steps"],
    );
    rig.assert_as_undisturbed("at-a-desk");
}

/// The supervisor is the pod of a Job. The Job makes the next pod, which waits until nobody answers for the claim.
fn the_supervisor_is_killed(rig: &Rig) {
    let config = rig.config("detached");
    let said = "the run goes on in the cluster, supervised by Job detached-supervisor in namespace team";
    run(rig.launcher_with(&["train", "--detach"], &config), ExitCode::Done, &[said]);
    rig.wait_for("detached", "step-00000005");
    run(rig.launcher_with(&["train", "--detach"], &config), ExitCode::Config, &["it is at work already"]);
    send(rig.cluster.process_with("kubernetes"), Signal::SIGKILL);
    rig.wait_for("detached", "state       done");
    rig.assert_as_undisturbed("detached");
    let attempts = rig.scratch.folder("detached/attempts").list().unwrap();
    assert!(attempts.iter().any(|claim| claim.name == "0002.json"), "{attempts:?}");
}

fn a_stop_is_asked_for(rig: &Rig) {
    let (config, url) = (rig.config("stopped"), rig.scratch.url("stopped"));
    let detach = || rig.launcher_with(&["train", "--detach"], &config);
    run(detach(), ExitCode::Done, &[]);
    rig.wait_for("stopped", "step-00000005");
    let mut stop = Command::new(launcher());
    stop.args(["stop", &url]);
    run(stop, ExitCode::Done, &["asked attempt 1", "/checkpoints/step-"]);
    rig.wait_for("stopped", "stopped on request");
    // The Job has ended, and makes room for the next one.
    run(detach(), ExitCode::Done, &[]);
    rig.wait_for("stopped", "state       done");
    rig.assert_as_undisturbed("stopped");
}

/// An evaluation of the run at-a-desk, whose scores are kept in a folder of its own. Each window is saved by itself, so that
/// something can happen between two.
struct Evaluation<'a> {
    rig: &'a Rig,
    output: &'static str,
}

impl Evaluation<'_> {
    fn samples(&self) -> PathBuf {
        self.rig.scratch.path().join(format!("{}.jsonl", self.output))
    }

    fn command(&self, more: &[&str]) -> Command {
        let scratch = &self.rig.scratch;
        let task = format!("text={}", scratch.url("texts/notes.txt"));
        let arguments = ["eval", "--json", "--save-every-s", "0", "--tasks", &task];
        let mut command = self.rig.launcher_with(&arguments, &self.rig.config("at-a-desk"));
        command.args(["--output", &scratch.url(self.output)]).arg("--samples").arg(self.samples()).args(more);
        command
    }

    /// Waits until `running` has saved some scores.
    fn wait_for_scores(&self, running: &mut Running) {
        let folder = self.rig.scratch.folder(self.output);
        let is_part = |name: &str| name.ends_with(".part");
        let saved = || folder.list().unwrap().iter().filter(|object| is_part(&object.name)).count();
        running.wait_until("scores are saved", DEADLINE, |_| (saved() >= 5).then_some(()));
    }

    /// Returns the results that were printed, and the items with their scores.
    fn outcome(&self, ended: &Output) -> (Value, String) {
        assert!(ended.status.success(), "{}\n{}", both(ended), self.rig.cluster.printed());
        let printed: Value = serde_json::from_slice(&ended.stdout).unwrap();
        (printed[0]["report"]["results"].clone(), std::fs::read_to_string(self.samples()).unwrap())
    }

    /// Returns the outcome by ranks on this machine.
    fn outcome_here(rig: &Rig) -> (Value, String) {
        let sentence = |n: usize| format!("The fox saw {n} crows and sang for each of the {} crows. ", n * 7);
        let text: String = (0..800).map(sentence).collect();
        rig.scratch.folder("texts").put("notes.txt", text.into()).unwrap();
        let here = Evaluation { rig, output: "scored-here" };
        here.outcome(&run_with_deadline(here.command(&["--backend", "local"]), DEADLINE))
    }
}

fn an_evaluation_loses_a_rank(rig: &Rig) {
    let expected = Evaluation::outcome_here(rig);
    let evaluation = Evaluation { rig, output: "scored-in-pods" };
    let mut running = Running::start(evaluation.command(&[]));
    evaluation.wait_for_scores(&mut running);
    send(rig.cluster.processes("worker")[0], Signal::SIGKILL);
    let ended = running.finish(DEADLINE);
    let said = both(&ended);
    for words in ["MPIJob at-a-desk-eval-", "-a0001 applied", "rank lost", "restarting in", "-a0002 applied"] {
        assert!(said.contains(words), "no {words:?} in:\n{said}");
    }
    let outcome = evaluation.outcome(&ended);
    assert!(outcome == expected, "{outcome:?}, expected {expected:?}");
}

fn an_evaluation_is_stopped(rig: &Rig) {
    let expected = Evaluation::outcome_here(rig);
    let evaluation = Evaluation { rig, output: "scored-in-two-parts" };
    let mut running = Running::start(evaluation.command(&[]));
    evaluation.wait_for_scores(&mut running);
    running.signal(Signal::SIGINT);
    ended(running, ExitCode::Stopped, &["stopped; run the same command to go on"]);
    rig.wait_for_the_end_of("worker");
    let outcome = evaluation.outcome(&run_with_deadline(evaluation.command(&[]), DEADLINE));
    assert!(outcome == expected, "{outcome:?}, expected {expected:?}");
}

/// A prepare job with all stages, from the store to the store.
struct Preparing<'a> {
    rig: &'a Rig,
    output: &'static str,
}

impl Preparing<'_> {
    fn output(&self) -> Folder {
        self.rig.scratch.folder(self.output)
    }

    fn command(&self, more: &[&str]) -> Command {
        let scratch = &self.rig.scratch;
        let places: [&str; 2] = [&scratch.url("pages"), &scratch.url(self.output)];
        let mut command = staged::prepare(self.rig.launcher(), scratch.path(), places, &self.rig.launch());
        command.args(more);
        command
    }

    /// Returns what one rank on this machine makes of the pages. Both are put into the store the first time.
    fn outcome_here(rig: &Rig) -> Vec<(String, Bytes)> {
        let here = Preparing { rig, output: "prepared-here" };
        if !here.output().exists("train/index.json").unwrap() {
            staged::put(&rig.scratch.folder("pages"));
            run(here.command(&["--backend", "local", "--ranks", "1"]), ExitCode::Done, &[]);
        }
        staged::prepared(&here.output())
    }
}

fn a_prepare_job_loses_a_rank_and_is_stopped(rig: &Rig) {
    let expected = Preparing::outcome_here(rig);
    let preparing = Preparing { rig, output: "prepared-in-pods" };
    let mut running = Running::start(preparing.command(&[]));
    running.wait_until("a part was finished", DEADLINE, |_| staged::is_in_work(&preparing.output()).then_some(()));
    send(rig.cluster.processes("prepare")[0], Signal::SIGKILL);
    running.wait_for("-a0002 applied", DEADLINE);
    let has_ranks = |_: &Running| (!rig.cluster.processes("prepare").is_empty()).then_some(());
    running.wait_until("ranks have started again", DEADLINE, has_ranks);
    running.signal(Signal::SIGINT);
    let words = ["MPIJob convoy-prepare-", "rank lost", "restarting in", "stopped; run the same command to go on"];
    ended(running, ExitCode::Stopped, &words);
    rig.wait_for_the_end_of("prepare");
    assert!(!preparing.output().exists("train/index.json").unwrap(), "it was over before it was stopped");

    run(preparing.command(&[]), ExitCode::Done, &["-a0001 applied", "tokens in "]);
    assert!(staged::prepared(&preparing.output()) == expected, "{}", rig.cluster.printed());
}

fn a_prepare_job_goes_on_by_itself(rig: &Rig) {
    let expected = Preparing::outcome_here(rig);
    let preparing = Preparing { rig, output: "prepared-by-a-supervisor" };
    let said =
        ["the prepare job goes on in the cluster, supervised by Job convoy-prepare-", "-supervisor in namespace team"];
    run(preparing.command(&["--detach"]), ExitCode::Done, &said);
    let end = Instant::now() + DEADLINE;
    while !preparing.output().exists("train/index.json").unwrap() {
        assert!(Instant::now() < end, "{}", rig.cluster.printed());
        std::thread::sleep(Duration::from_millis(100));
    }
    rig.wait_for_the_end_of("prepare");
    assert!(staged::prepared(&preparing.output()) == expected, "{}", rig.cluster.printed());
}
