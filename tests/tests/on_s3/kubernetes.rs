//! Runs in a cluster with processes for pods, with a launcher at a desk, and without one (`--detach`). Ranks, mpirun and the
//! object store are real; the cluster is a stand-in ([`tests::cluster`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::exit_code::ExitCode;
use nix::sys::signal::Signal;
use tests::cluster::Cluster;
use tests::process::{Running, both, launcher, run_with_deadline, send};
use tests::remote_shell;
use tests::scratch::{Scratch, losses};
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
        let shell = remote_shell::write(self.scratch.path());
        let forwarded = ["CONVOY_TEST_PROCESS", "CONVOY_TEST_BUCKET_DELAY_MS"];
        let overrides = [
            "launch.backend=kubernetes".to_owned(),
            "launch.ranks=2".to_owned(),
            "launch.claim_expiry_s=2".to_owned(),
            "launch.control_address=127.0.0.1".to_owned(),
            "checkpoint.every_steps=5".to_owned(),
            "train.max_steps=20".to_owned(),
            format!("launch.remote_shell={}", shell.display()),
            format!("launch.forward_environment={forwarded:?}"),
        ];
        self.scratch.config(name, &overrides.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn launcher(&self, arguments: &[&str], config: &Path) -> Command {
        let mut command = Command::new(launcher());
        command.args(arguments).arg("--config").arg(config);
        command.env("KUBECONFIG", self.cluster.kubeconfig()).env_remove("RUST_LOG");
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
    for part in [a_rank_is_killed, the_supervisor_is_killed, a_stop_is_asked_for] {
        let start = Instant::now();
        part(&rig);
        println!("{:.0} s", start.elapsed().as_secs_f64());
    }
}

fn a_rank_is_killed(rig: &Rig) {
    let config = rig.config("at-a-desk");
    let mut running = Running::start(rig.launcher(&["train"], &config));
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
    run(rig.launcher(&["train", "--detach"], &config), ExitCode::Done, &[said]);
    rig.wait_for("detached", "step-00000005");
    run(rig.launcher(&["train", "--detach"], &config), ExitCode::Config, &["it is at work already"]);
    send(rig.cluster.process_with("kubernetes"), Signal::SIGKILL);
    rig.wait_for("detached", "state       done");
    rig.assert_as_undisturbed("detached");
    let attempts = rig.scratch.folder("detached/attempts").list().unwrap();
    assert!(attempts.iter().any(|claim| claim.name == "0002.json"), "{attempts:?}");
}

fn a_stop_is_asked_for(rig: &Rig) {
    let (config, url) = (rig.config("stopped"), rig.scratch.url("stopped"));
    let detach = || rig.launcher(&["train", "--detach"], &config);
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
