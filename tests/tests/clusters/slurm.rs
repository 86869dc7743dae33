//! A run as a batch job of a real Slurm, with its controller and two nodes in namespaces of this machine. The job is requeued
//! in the middle, and finishes with the losses of an undisturbed run. The test takes Debian's slurmctld, slurmd, slurm-client
//! and munge, and what the hosts of `hosts.rs` take.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::checkpoint_store;
use common::exit_code::ExitCode;
use tests::hosts::Hosts;
use tests::process::{Running, run_with_deadline};
use tests::scratch::losses;
use tests::staged;
use tests::training::{DEADLINE, ended, run, slowly, turn};

const SETTINGS: &[&str] = &["train.max_steps=40", "checkpoint.every_steps=4", "launch.ranks=2"];
const OF_SLURM: &[&str] = &[
    "launch.backend=slurm",
    "launch.hosts=[]",
    "launch.ranks_per_node=1",
    "launch.slurm_arguments=[\"--output=/run/convoy.log\"]",
];
/// Small files in the official format of every task, written for tests.
const SMALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../common/evaluation/tests/small");
const PROGRAMS: [&str; 3] = ["/usr/sbin/munged", "/usr/sbin/slurmctld", "/usr/sbin/slurmd"];

/// Two hosts as the nodes of a cluster.
struct Cluster {
    hosts: Hosts,
    folder: tempfile::TempDir,
}

impl Cluster {
    fn start() -> Self {
        let cluster = Cluster { hosts: Hosts::start(2), folder: tempfile::tempdir().unwrap() };
        let (config, key) = (cluster.config(), cluster.folder.path().join("munge.key"));
        let nodes: String = (0..2)
            .map(|n| format!("NodeName=convoy-{} NodeAddr={} CPUs=2 State=UNKNOWN\n", n + 1, cluster.hosts.address(n)))
            .collect();
        let text = format!(
            "ClusterName=convoy\nSlurmctldHost=convoy-1({})\nSlurmUser=root\nAuthType=auth/munge\n\
             AuthInfo=cred_expire=5\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n\
             SelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nStateSaveLocation=/run/slurm/state\n\
             SlurmdSpoolDir=/run/slurm/spool\nSlurmctldPidFile=/run/slurmctld.pid\nSlurmdPidFile=/run/slurmd.pid\n\
             SlurmctldLogFile=/run/slurmctld.log\nSlurmdLogFile=/run/slurmd.log\nMpiDefault=none\nReturnToService=2\n\
             KillWait=30\n{nodes}PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n",
            cluster.hosts.address(0)
        );
        fs::write(&config, text).unwrap();
        fs::write(&key, [7; 1024]).unwrap();
        for n in 0..2 {
            let controller = if n == 0 { "slurmctld -f $1" } else { "true" };
            let script = format!(
                "PATH=$PATH:/usr/sbin; mkdir -p /run/munge /run/slurm/state /run/slurm/spool; \
                 chmod 755 /run /run/munge; cp {key} /run/munge.key; chmod 600 /run/munge.key; \
                 munged --force --key-file=/run/munge.key --socket=/run/munge/munge.socket.2 \
                 --pid-file=/run/munged.pid --log-file=/run/munged.log --seed-file=/run/munged.seed; \
                 set -- x {config}; shift; {controller}; slurmd -f {config}",
                key = key.display(),
                config = config.display()
            );
            cluster.hosts.shell(n, &script);
        }
        cluster.wait_until("both nodes are idle", || cluster.ask("sinfo -h -N -o %T") == "idle\nidle\n");
        cluster
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("slurm.conf")
    }

    /// Returns what a command of Slurm prints on the first node.
    fn ask(&self, command: &str) -> String {
        self.hosts.shell(0, &format!("SLURM_CONF={} {command}", self.config().display()))
    }

    fn wait_until(&self, what: &str, ready: impl Fn() -> bool) {
        let end = Instant::now() + DEADLINE;
        while !ready() {
            let logs = || self.hosts.shell(0, "tail -n 20 /run/slurmctld.log /run/slurmd.log /run/convoy.log || true");
            assert!(Instant::now() < end, "{DEADLINE:?} passed before {what}:\n{}", logs());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Starts a cluster where `make soak` has one; prints what is missing.
fn cluster() -> Option<Cluster> {
    let missing = PROGRAMS.iter().find(|program| !Path::new(program).is_file());
    if std::env::var_os("CONVOY_TEST_ALL_HOSTS").is_none() || !Hosts::are_permitted() {
        println!("skipped: it is run by `make soak`");
        return None;
    }
    if let Some(program) = missing {
        println!("skipped: there is no {program} (Debian packages slurmctld, slurmd, slurm-client, munge)");
        return None;
    }
    Some(Cluster::start())
}

impl Cluster {
    /// Runs `command` of the launcher, which submits a job; returns the job's number.
    fn job(&self, mut command: Command) -> String {
        command.env("SLURM_CONF", self.config()).current_dir("/");
        let output = run_with_deadline(command, DEADLINE);
        let job = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && job.parse::<u32>().is_ok(), "{job}: {told}");
        assert!(told.contains(&format!("`scancel --batch --signal=TERM {job}` has it save and stop")), "{told}");
        job
    }

    /// Submits run `name`, slowed down, and waits until it has saved; returns the job's number.
    fn submit(&self, name: &str) -> String {
        let command = slowly(self.hosts.train(name, &[SETTINGS, OF_SLURM].concat()));
        let job = self.job(command);
        let checkpoints = self.hosts.scratch().folder(&format!("{name}/checkpoints"));
        self.wait_until("something is saved", || {
            let objects = checkpoints.list().unwrap();
            objects.iter().any(|o| o.name.starts_with("step-00000004") && o.name.ends_with("manifest.json"))
        });
        job
    }

    /// Returns what Slurm says of a job.
    fn show(&self, job: &str) -> String {
        self.ask(&format!("scontrol show job {job}"))
    }

    fn log(&self) -> String {
        self.hosts.shell(0, "cat /run/convoy.log")
    }

    fn assert_nothing_runs(&self) {
        for n in 0..2 {
            for name in ["worker", "prepare", "orted", "mpirun", "launcher"] {
                self.wait_until(&format!("no {name} runs on node {n}"), || self.hosts.processes(n, name).is_empty());
            }
        }
    }
}

#[test]
fn a_job_that_is_queued_again_in_the_middle_comes_to_the_same() {
    let _turn = turn();
    let Some(cluster) = cluster() else { return };
    ended(Running::start(cluster.hosts.train("whole", SETTINGS)), ExitCode::Done, &["2 ranks on 2 hosts"]);
    let expected = losses(&cluster.hosts.scratch().url("whole"));
    // One job is lost with a node; the other is out of time.
    for (name, again) in [("queued", "scontrol requeue"), ("out-of-time", "scancel --batch --signal=USR1")] {
        let job = cluster.submit(name);
        cluster.ask(&format!("{again} {job}"));
        cluster.wait_until("the job is complete", || cluster.show(&job).contains("JobState=COMPLETED"));
        let shown = cluster.show(&job);
        assert!(shown.contains("Restarts=1") && shown.contains("ExitCode=0:0"), "{shown}");
        let log = cluster.log();
        assert!(log.contains("attempt 2: 2 ranks on 2 hosts") && log.contains("resumed from"), "{log}");
        assert_eq!(log.contains("out of time: job "), name == "out-of-time", "{log}");
        let got = losses(&cluster.hosts.scratch().url(name));
        assert!(got.len() == 40 && got == expected, "{got:?}, expected {expected:?}");
        cluster.assert_nothing_runs();
    }
}

#[test]
fn an_evaluation_is_a_job_whose_log_ends_in_the_table() {
    let _turn = turn();
    let Some(cluster) = cluster() else { return };
    ended(Running::start(cluster.hosts.train("whole", SETTINGS)), ExitCode::Done, &[]);
    let mut eval = cluster.hosts.launcher();
    eval.args(["eval", "--config"]).arg(cluster.hosts.scratch().path().join("whole.toml"));
    eval.args(["--tasks", "ptb,enwik8,text8", "--data", SMALL, "--backend", "slurm", "--ranks", "2"]);
    for setting in OF_SLURM {
        eval.args(["--set", setting]);
    }
    let job = cluster.job(eval);
    cluster.wait_until("the job is complete", || cluster.show(&job).contains("JobState=COMPLETED"));
    let log = cluster.log();
    assert!(["ptb ", "enwik8 ", "text8 "].iter().all(|task| log.contains(task)), "{log}");
    cluster.assert_nothing_runs();
}

/// Two nodes take pages through all stages to what one rank makes of them, byte for byte, although the job is queued again in the
/// middle.
#[test]
fn a_prepare_job_on_two_nodes_makes_what_one_rank_makes() {
    let _turn = turn();
    let Some(cluster) = cluster() else { return };
    let scratch = cluster.hosts.scratch();
    staged::put(&scratch.folder("pages"));
    let prepare = |output: &str, settings: &[&str], more: &[&str]| {
        let mut sets = cluster.hosts.launch_settings();
        sets.extend(settings.iter().map(|set| (*set).to_owned()));
        let places: [&str; 2] = ["s3://bucket/pages", &format!("s3://bucket/{output}")];
        let mut command = staged::prepare(cluster.hosts.launcher(), scratch.path(), places, &sets);
        command.args(more);
        command
    };
    run(prepare("by-one", &[], &["--backend", "local", "--ranks", "1"]), ExitCode::Done, &[]);
    let job = cluster.job(prepare("by-two", OF_SLURM, &["--ranks", "2"]));
    let output = scratch.folder("by-two");
    cluster.wait_until("a part was finished", || staged::is_in_work(&output));
    let runs_on_both = (0..2).all(|node| !cluster.hosts.processes(node, "prepare").is_empty());
    cluster.ask(&format!("scontrol requeue {job}"));
    cluster.wait_until("the job is complete", || cluster.show(&job).contains("JobState=COMPLETED"));
    let (shown, log) = (cluster.show(&job), cluster.log());
    assert!(runs_on_both && shown.contains("Restarts=1") && log.contains("tokens in "), "{shown}\n{log}");
    cluster.assert_nothing_runs();
    let [by_one, by_two] = [&scratch.folder("by-one"), &output].map(staged::prepared);
    assert!(by_one == by_two, "{} and {} objects", by_one.len(), by_two.len());
}

#[test]
fn a_job_that_is_stopped_as_the_launcher_advised_saves_and_is_not_queued_again() {
    let _turn = turn();
    let Some(cluster) = cluster() else { return };
    let job = cluster.submit("stopped");
    cluster.ask(&format!("scancel --batch --signal=TERM {job}"));
    cluster.wait_until("the job has ended", || cluster.show(&job).contains("JobState=FAILED"));
    let shown = cluster.show(&job);
    assert!(shown.contains("Restarts=0") && shown.contains("ExitCode=75:0"), "{shown}");
    let log = cluster.log();
    assert!(
        log.contains("stopped; run the same command to go on") && log.contains("stopped on request: job "),
        "{log}"
    );
    cluster.assert_nothing_runs();
}

/// The job is cancelled by hand, without the trap of its script: Slurm signals launcher, mpirun's daemons and ranks on every
/// node at once, and kills what is left after its KillWait.
#[test]
fn a_job_that_is_cancelled_outright_still_saves() {
    let _turn = turn();
    let Some(cluster) = cluster() else { return };
    let job = cluster.submit("cancelled");
    cluster.ask(&format!("scancel {job}"));
    cluster.wait_until("the job has ended", || cluster.show(&job).contains("JobState=CANCELLED"));
    cluster.assert_nothing_runs();
    let log = cluster.log();
    assert!(log.contains("stopped; run the same command to go on"), "{log}");
    let run = cluster.hosts.scratch().folder("cancelled");
    let newest = checkpoint_store::newest(&run).unwrap().unwrap();
    let records = losses(&cluster.hosts.scratch().url("cancelled"));
    assert_eq!(records.keys().next_back(), Some(&newest.step), "not saved where it was stopped: {log}");
    assert!(newest.step < 40, "it was over before it was cancelled");
}
