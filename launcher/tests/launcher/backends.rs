//! Tests that every backend passes: one suite, run over each with real processes and a fake worker in the worker's place.
//!
//! The hosts of `mpirun` are this machine under other names ([`tests::remote_shell`]; `tests/tests/clusters/hosts.rs` has hosts of
//! their own and a real sshd), and so are those of `kubernetes`, whose cluster has processes for pods ([`tests::cluster`]).

use std::fs;
use std::net::TcpListener;

use super::harness::{Rig, can_run};
use nix::sys::signal::Signal;
use serde_json::json;
use tests::remote_shell;
use tests::servers::open_mpi_5;

/// A backend, with flags that start two ranks by it.
struct Way {
    name: &'static str,
    flags: Vec<String>,
    // Holds the remote shell.
    folder: tempfile::TempDir,
}

impl Way {
    fn rig(&self, plan: &str, more: &[&str]) -> Rig {
        println!("backend {}", self.name);
        let flags: Vec<_> = self.flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
        match self.name {
            "kubernetes" => Rig::in_cluster(plan, &flags),
            OPEN_MPI_5 => Rig::new(plan, &flags).with_programs_of(&open_mpi_5().unwrap().join("bin")),
            _ => Rig::new(plan, &flags),
        }
    }
}

/// Returns all ways that can be tried here.
fn ways() -> Vec<Way> {
    if !can_run(&["python3", "mpirun"]) {
        return Vec::new();
    }
    let mut ways = vec![local(), mpirun(&["node-a:1", "node-b:1"]), kubernetes()];
    ways.extend(open_mpi_5().map(|_| Way { name: OPEN_MPI_5, ..local() }));
    ways
}

/// Name of the local backend with the other series of Open MPI.
const OPEN_MPI_5: &str = "local, Open MPI 5";

fn local() -> Way {
    way("local", &["--ranks", "2"])
}

fn mpirun(hosts: &[&str]) -> Way {
    way("mpirun", &["--hosts", &hosts.join(",")])
}

fn kubernetes() -> Way {
    way("kubernetes", &["--ranks", "2"])
}

fn way(name: &'static str, flags: &[&str]) -> Way {
    let folder = tempfile::tempdir().unwrap();
    let mut all = ["--backend", name].map(str::to_owned).to_vec();
    all.extend(flags.iter().map(|flag| (*flag).to_owned()));
    if name != "local" {
        let sets = [
            format!("launch.remote_shell={:?}", remote_shell::write(folder.path()).to_str().unwrap()),
            "launch.forward_environment=[\"FAKE_PLAN\", \"FAKE_FOLDER\"]".to_owned(),
            "launch.control_address=\"127.0.0.1\"".to_owned(),
        ];
        all.extend(sets.into_iter().flat_map(|set| ["--set".to_owned(), set]));
    }
    Way { name, flags: all, folder }
}

/// Checks that this process's launchers have left no folder in `/dev/shm`; launchers of other tests run meanwhile.
fn assert_no_session_folder(rig: &Rig) {
    for log in rig.names("logs/attempt-0001").iter().filter(|name| name.starts_with("rank-")) {
        let text = fs::read_to_string(rig.run("logs/attempt-0001").join(log)).unwrap();
        let folders: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("session folder ")).collect();
        assert_eq!(folders.len(), 1, "{text}");
        assert!(!std::path::Path::new(folders[0]).exists(), "{} is left", folders[0]);
    }
}

#[test]
fn output_is_its_ranks_and_nothing_is_left() {
    for way in ways() {
        let rig = way.rig(r#"[{"do": "finish"}]"#, &[]);
        let ended = rig.train();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let logs = rig.names("logs/attempt-0001");
        // In a cluster, the launcher beside the ranks prints something, too.
        let others = if way.name == "kubernetes" { &["mpirun.log"][..] } else { &[] };
        assert_eq!(logs, [others, &["rank-0.log", "rank-1.log"]].concat());
        for rank in 0..2 {
            let log = fs::read_to_string(rig.run(&format!("logs/attempt-0001/rank-{rank}.log"))).unwrap();
            assert!(log.contains(&format!(" of rank {rank}\n")), "{log}");
        }
        assert_no_session_folder(&rig);
        let claim: serde_json::Value =
            serde_json::from_slice(&fs::read(rig.run("attempts/0001.json")).unwrap()).unwrap();
        assert_eq!(claim["ranks"], json!(2));
    }
}

#[test]
fn exit_codes_and_their_ranks_come_through() {
    for way in ways() {
        let rig = way.rig(r#"[{"do": "exit", "rank": 1, "at": 2, "code": 3, "name": "data"}]"#, &[]);
        let ended = rig.train();
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        assert!(ended.stderr.contains("rank 1 failed (exit 3: data missing"), "{}", ended.stderr);
        let rig = way.rig(r#"[{"do": "mute_exit", "rank": 1, "at": 2, "code": 5}]"#, &[]);
        let ended = rig.train();
        assert_eq!(ended.code, Some(5), "{}", ended.stderr);
        assert_no_session_folder(&rig);
    }
}

#[test]
fn a_signal_reaches_every_rank() {
    for way in ways() {
        // The ranks do not listen to their connections.
        let rig = way.rig(r#"[{"do": "wait", "hears": "signals"}]"#, &[]);
        let mut running = rig.start();
        running.wait_for("step      3/6");
        running.signal(Signal::SIGTERM);
        let ended = running.wait();
        assert_eq!(ended.code, Some(75), "{}", ended.stderr);
        rig.assert_nothing_is_left();
        assert_no_session_folder(&rig);
    }
}

#[test]
fn a_kill_leaves_nothing() {
    for way in ways() {
        let rig = way.rig(r#"[{"do": "deaf", "at": 2}]"#, &["--set", "launch.grace_s=1"]);
        let mut running = rig.start();
        running.wait_for("step      2/6");
        running.signal(Signal::SIGINT);
        let ended = running.wait();
        assert_eq!(ended.code, Some(4), "{}", ended.stderr);
        rig.assert_nothing_is_left();
        assert_no_session_folder(&rig);
    }
}

#[test]
fn a_killed_rank_is_restarted_everywhere() {
    for way in ways() {
        let rig = way.rig(r#"[{"do": "kill", "rank": 1, "at": 2}, {"do": "finish"}]"#, &[]);
        let ended = rig.train();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("rank lost: rank 1"), "{}", ended.stderr);
        assert_eq!(rig.claims(), ["0001.json", "0002.json"]);
        assert_no_session_folder(&rig);
    }
}

#[test]
fn what_is_rendered_is_what_would_be_run() {
    for way in ways() {
        let rig = way.rig("[]", &[]);
        let output = rig.command("render").env("AWS_SECRET_ACCESS_KEY", "hush").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains("hush"), "{text}");
        assert_eq!(text.contains("-x AWS_SECRET_ACCESS_KEY"), way.name == "mpirun", "{text}");
        match way.name {
            "kubernetes" => assert!(text.contains("kind: MPIJob\n") && text.contains("replicas: 2\n"), "{text}"),
            OPEN_MPI_5 => assert!(text.contains("bin/mpirun -n 2 --output tag"), "{text}"),
            _ => assert!(
                text.contains("mpirun -n 2 --tag-output") && text.ends_with("train --from-launcher\n"),
                "{text}"
            ),
        }
    }
}

#[test]
fn a_host_that_does_not_answer_is_left_out_where_fewer_ranks_may_start() {
    if !can_run(&["python3", "mpirun"]) {
        return;
    }
    let hosts = mpirun(&["node-a:1", "gone-b:1", "node-c:1"]);
    let rig = hosts.rig(r#"[{"do": "finish"}]"#, &["--set", "launch.min_ranks=2"]);
    let ended = rig.train();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said = "host gone-b is left out of this attempt: connect to host gone-b: No route to host";
    assert!(ended.stderr.contains(said) && ended.stderr.contains("2 ranks on 2 hosts"), "{}", ended.stderr);
    assert_eq!(rig.kinds(1), ["attempt_started", "host_left_out", "attempt_ended"]);
    assert_eq!(rig.events(1)[0]["hosts"], json!([["node-a", 1], ["node-c", 1]]));

    let rig = hosts.rig(r#"[{"do": "finish"}]"#, &["--set", "launch.max_restarts=1"]);
    let ended = rig.train();
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(ended.stderr.contains("have room for 2 ranks, at least 3 are needed"), "{}", ended.stderr);
    assert!(ended.stderr.contains("giving up after 1 restart"), "{}", ended.stderr);
    assert!(!rig.run("attempts").exists(), "no attempt was claimed");
}

#[test]
fn ranks_that_never_start_are_named_and_not_waited_for() {
    if !can_run(&["python3", "mpirun"]) {
        return;
    }
    let hosts = mpirun(&["node-a:1", "lost-b:1"]);
    let rig = hosts.rig("[]", &["--set", "launch.start_timeout_s=2", "--set", "launch.max_restarts=0"]);
    let ended = rig.train();
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    let said = "attempt 1 ended: not every rank has started within 2 s";
    assert!(ended.stderr.contains(said) && ended.stderr.contains("rank 1 on lost-b"), "{}", ended.stderr);
    assert_eq!(rig.kinds(1), ["attempt_started", "not_started", "attempt_ended", "gave_up"]);
    rig.assert_nothing_is_left();
}

#[test]
fn a_host_that_answers_again_is_taken_back_where_that_is_wanted() {
    if !can_run(&["python3", "mpirun"]) {
        return;
    }
    let hosts = mpirun(&["node-a:1", "gone-b:1"]);
    let plan = r#"[{"do": "wait"}, {"do": "finish"}]"#;
    let rig = hosts.rig(plan, &["--set", "launch.min_ranks=1", "--set", "launch.host_poll_s=1"]);
    let mut running = rig.start();
    running.wait_for("step      3/6");
    remote_shell::let_back(hosts.folder.path());
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("gone-b can be had again: saving a checkpoint, to go on with 2 ranks"),
        "{}",
        ended.stderr
    );
    let kinds = ["attempt_started", "host_left_out", "hosts_back", "attempt_ended", "restart"];
    assert_eq!(rig.kinds(1), kinds);
    assert_eq!(rig.events(2)[0]["hosts"], json!([["node-a", 1], ["gone-b", 1]]));
}

#[test]
fn a_spare_takes_the_place_of_a_host_that_does_not_answer() {
    if !can_run(&["python3", "mpirun"]) {
        return;
    }
    let hosts = mpirun(&["gone-a:1", "node-b:1", "node-c:1", "node-d:1"]);
    let rig = hosts.rig(r#"[{"do": "finish"}]"#, &["--ranks", "2"]);
    let ended = rig.train();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(rig.events(1)[0]["hosts"], json!([["node-b", 1], ["node-c", 1]]));
}

#[test]
fn a_signal_is_heard_while_a_host_or_the_api_server_does_not_answer() {
    if !can_run(&["python3", "mpirun"]) {
        return;
    }
    let hosts = mpirun(&["node-a:1", "silent-b:1"]);
    let rig = hosts.rig("[]", &[]);
    let mut running = rig.start();
    running.wait_for(": 6 steps, ");
    running.signal(Signal::SIGTERM);
    let ended = running.wait();
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    assert!(ended.stderr.contains("stopped while waiting for "), "{}", ended.stderr);
    assert!(!rig.run("attempts").exists(), "an attempt was claimed");

    let way = kubernetes();
    let rig = way.rig("[]", &[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let kubeconfig = way.folder.path().join("kubeconfig");
    let server = format!("http://{}", listener.local_addr().unwrap());
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": server } }],
        "users": [{ "name": "c", "user": {} }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
    });
    fs::write(&kubeconfig, text.to_string()).unwrap();
    let mut running = Rig::spawn(rig.command("train").env("KUBECONFIG", kubeconfig));
    running.wait_for("attempt 1: 2 ranks");
    running.signal(Signal::SIGTERM);
    let ended = running.wait();
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    assert!(ended.stderr.contains("the API server does not answer"), "{}", ended.stderr);
}

#[test]
fn several_hosts_are_refused_by_name_where_open_mpi_5_comes_first() {
    let Some(open_mpi) = open_mpi_5() else { return };
    let rig = mpirun(&["node-a:1", "node-b:1"]).rig("[]", &[]).with_programs_of(&open_mpi.join("bin"));
    let ended = rig.train();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let words = ["bin/mpirun is Open MPI 5.0", "several hosts need Open MPI 4.1"];
    assert!(words.iter().all(|said| ended.stderr.contains(said)), "{}", ended.stderr);
    assert!(!rig.run("attempts").exists(), "an attempt was claimed");
}
