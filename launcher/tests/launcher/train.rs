//! Tests of `launcher train` from start to end, with a fake worker in the place of the real one: one rank directly, two under
//! a real mpirun.

use std::fs;
use std::net::{TcpListener, TcpStream};

use super::harness::{Rig, can_run};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const ALONE: &[&str] = &["python3"];
const TOGETHER: &[&str] = &["python3", "mpirun"];
const FINISH: &str = r#"[{"do": "finish"}]"#;
/// Settings of short time-outs that nest, the last one long enough for ranks to start.
const SHORT_STALL: [&str; 6] =
    ["--set", "storage.deadline_s=2", "--set", "parallel.timeout_s=4", "--set", "launch.stall_timeout_s=8"];

#[test]
fn one_rank_trains_and_leaves_a_whole_run_folder() {
    if !can_run(ALONE) {
        return;
    }
    let rig = Rig::new(FINISH, &["--threads-per-rank", "3"]);
    let ended = rig.train();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "validation loss 5.58\n");
    for expected in [
        "attempt 1: 1 rank, 3 threads each",
        "step      1/6  loss 6.4000  lr 1.0e-3  grad norm 0.50  25,600 tokens/s  left",
        "step 6: validation loss 5.5849",
        "step 6: checkpoint committed",
        "done: 6 steps, validation loss 5.58",
    ] {
        assert!(ended.stderr.contains(expected), "no {expected:?} in:\n{}", ended.stderr);
    }
    let claim: Value = serde_json::from_slice(&fs::read(rig.run("attempts/0001.json")).unwrap()).unwrap();
    assert_eq!((&claim["attempt"], &claim["ranks"]), (&json!(1), &json!(1)));
    let start = rig.start_line();
    let config = start["config"].as_str().unwrap();
    assert!(config.contains("output = \"file:///") && config.contains("url = \"file:///"), "{config}");
    assert_eq!(
        fs::read_to_string(rig.run("logs/attempt-0001/rank-0.log")).unwrap(),
        "threads 3 of rank 0\nsession folder None\n"
    );
    assert_eq!(rig.kinds(1), ["attempt_started", "attempt_ended"]);
}

#[test]
fn two_ranks_train_under_mpirun_and_a_second_launch_is_a_second_attempt() {
    if !can_run(TOGETHER) {
        return;
    }
    let rig = Rig::new(FINISH, &["--ranks", "2"]);
    for attempt in 1..=2 {
        let ended = rig.train();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let logs = rig.names(&format!("logs/attempt-000{attempt}"));
        assert_eq!(logs, ["rank-0.log", "rank-1.log"]);
    }
    assert_eq!(rig.claims(), ["0001.json", "0002.json"]);
    let log = fs::read_to_string(rig.run("logs/attempt-0001/rank-1.log")).unwrap();
    assert!(log.contains(" of rank 1\n"), "{log}");
}

#[test]
fn a_rank_that_fails_on_data_is_named_and_not_restarted() {
    if !can_run(TOGETHER) {
        return;
    }
    let plan = r#"[{"do": "exit", "rank": 1, "at": 2, "code": 3, "name": "data"}]"#;
    let rig = Rig::new(plan, &["--ranks", "2"]);
    let ended = rig.train();
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert_eq!(rig.claims(), ["0001.json"]);
    for expected in [
        "attempt 1 ended: rank 1 failed (exit 3: data missing, corrupt or denied, or a disk or store is full)\n  shard x: expected 10 bytes, got 9\n",
        "rank 1: 2026-01-01T00:00:00Z ERROR the shard is truncated",
        "last lines of rank 1:",
    ] {
        assert!(ended.stderr.contains(expected), "no {expected:?} in:\n{}", ended.stderr);
    }
    let end = &rig.events(1)[1];
    assert_eq!((&end["code"], &end["rank"]), (&json!(3), &json!(1)));
}

#[test]
fn a_killed_rank_is_restarted_as_the_next_attempt() {
    if !can_run(TOGETHER) {
        return;
    }
    let rig = Rig::new(r#"[{"do": "kill", "rank": 1, "at": 2}, {"do": "finish"}]"#, &["--ranks", "2"]);
    let ended = rig.train();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("rank lost: rank 1"), "{}", ended.stderr);
    assert!(ended.stderr.contains("exited on signal 9"), "{}", ended.stderr);
    assert_eq!(rig.claims(), ["0001.json", "0002.json"]);
    assert_eq!(rig.kinds(1), ["attempt_started", "attempt_ended", "restart"]);
    assert_eq!(rig.kinds(2), ["attempt_started", "attempt_ended"]);
}

#[test]
fn a_problem_of_a_later_attempt_is_shown_again_and_what_was_found_of_the_run_is_not() {
    if !can_run(ALONE) {
        return;
    }
    let rig = Rig::new(r#"[{"do": "kill", "at": 2}, {"do": "finish"}]"#, &[]);
    let ended = rig.train();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let shown = |line: &str| ended.stderr.matches(line).count();
    assert_eq!(shown("warning: run         1000 epochs of the data\n"), 1, "{}", ended.stderr);
    assert_eq!(shown("warning: step 1: no save, since the one before is still under way\n"), 2, "{}", ended.stderr);
}

#[test]
fn a_run_that_always_dies_in_the_same_place_is_given_up() {
    if !can_run(ALONE) {
        return;
    }
    let rig = Rig::new(r#"[{"do": "kill", "at": 2}]"#, &["--set", "launch.max_restarts=1"]);
    let ended = rig.train();
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(ended.stderr.contains("rank lost: killed by SIGKILL"), "{}", ended.stderr);
    assert_eq!(rig.claims(), ["0001.json", "0002.json"]);
    assert_eq!(rig.kinds(2).last().unwrap(), "gave_up");
}

#[test]
fn a_bug_is_tried_once_more() {
    if !can_run(ALONE) {
        return;
    }
    let rig = Rig::new(r#"[{"do": "mute_exit", "at": 1, "code": 70}]"#, &[]);
    assert_eq!(rig.train().code, Some(70));
    assert_eq!(rig.claims().len(), 2);
}

#[test]
fn sigterm_saves_and_stops() {
    if !can_run(TOGETHER) {
        return;
    }
    let rig = Rig::new(r#"[{"do": "wait"}]"#, &["--ranks", "2"]);
    let mut running = rig.start();
    running.wait_for("step      3/6");
    running.signal(Signal::SIGTERM);
    let ended = running.wait();
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    assert!(ended.stderr.contains("stopping: saving a checkpoint"), "{}", ended.stderr);
    assert!(ended.stderr.contains("run the same command to go on"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    assert_eq!(rig.kinds(1), ["attempt_started", "stop_requested", "attempt_ended"]);
    rig.assert_nothing_is_left();
}

#[test]
fn ranks_that_do_not_stop_in_time_are_killed_and_not_restarted() {
    if !can_run(TOGETHER) {
        return;
    }
    let rig = Rig::new(r#"[{"do": "deaf", "at": 2}]"#, &["--ranks", "2", "--set", "launch.grace_s=1"]);
    let mut running = rig.start();
    running.wait_for("step      2/6");
    // Both ranks have said by then which step they are in.
    while !(rig.has("idle-1-0") && rig.has("idle-1-1")) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    for expected in [
        "the stop took longer than 1 s, so the ranks were killed in the middle of step 3",
        "no checkpoint had been committed: the same command begins anew",
    ] {
        assert!(ended.stderr.contains(expected), "no {expected:?} in:\n{}", ended.stderr);
    }
    assert_eq!(rig.claims().len(), 1);
    rig.assert_nothing_is_left();
}

#[test]
fn a_step_that_outlasts_a_stop_is_warned_of_before_anybody_stops_the_run() {
    if !can_run(ALONE) {
        return;
    }
    // A step of the fake takes 0.02 s.
    let rig = Rig::new(FINISH, &["--set", "launch.grace_s=0"]);
    let ended = rig.train();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let warning = "a step takes 0.02 s, and a stop may take launch.grace_s = 0 s";
    assert_eq!(ended.stderr.matches(warning).count(), 1, "{}", ended.stderr);
    assert_eq!(rig.kinds(1), ["attempt_started", "short_grace", "attempt_ended"]);
}

#[test]
fn a_stop_before_the_first_step_waits_for_nothing() {
    if !can_run(TOGETHER) {
        return;
    }
    // The ranks never begin, as with a store that does not answer them.
    let rig = Rig::new(r#"[{"do": "start"}]"#, &["--ranks", "2"]);
    let mut running = rig.start();
    running.wait_for("attempt 1: 2 ranks");
    while !rig.has("starting") {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    running.signal(Signal::SIGTERM);
    let ended = running.wait();
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    assert!(ended.stderr.contains("no step has begun, so there is nothing to save"), "{}", ended.stderr);
    assert_eq!(rig.claims().len(), 1);
}

#[test]
fn a_closed_terminal_ends_a_run_and_under_nohup_it_does_not() {
    if !can_run(ALONE) {
        return;
    }
    for (limits, code) in [("true", 75), ("trap '' HUP", 0)] {
        let rig = Rig::new(r#"[{"do": "finish", "gate": 3}]"#, &[]);
        let mut running = rig.start_within(limits);
        running.wait_for("step      3/6");
        running.signal(Signal::SIGHUP);
        if code == 75 {
            running.wait_for("stopping");
        } else {
            // This is long enough for the launcher to hear what it should not.
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        rig.touch("go");
        let ended = running.wait();
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    }
}

#[test]
fn a_rank_in_which_mpi_cannot_start_ends_the_attempt_though_mpirun_does_not() {
    if !can_run(TOGETHER) {
        return;
    }
    let flags = ["--ranks", "2", "--set", "launch.max_restarts=0", "--set", "launch.start_timeout_s=60"];
    let rig = Rig::new(r#"[{"do": "no_mpi"}]"#, &flags);
    let ended = rig.train();
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    for expected in ["attempt 1 ended: MPI could not start", "/dev/shm", "| *** An error occurred in MPI_Init_thread"] {
        assert!(ended.stderr.contains(expected), "no {expected:?} in:\n{}", ended.stderr);
    }
}

/// Starts a server that accepts connections and never answers; returns it with its address.
fn silent_server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn a_signal_is_heard_while_the_store_does_not_answer() {
    if !can_run(ALONE) {
        return;
    }
    let (_listener, address) = silent_server();
    for name in ["train", "check"] {
        let rig = Rig::new(FINISH, &["--set", "run.output=s3://bucket/run"]);
        let mut command = rig.command(name);
        command.env("AWS_ENDPOINT_URL", format!("http://{address}")).env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret").env("AWS_ALLOW_HTTP", "true");
        let mut running = Rig::spawn(&mut command);
        if name == "train" {
            running.wait_for(": 6 steps, s3://bucket/run");
        } else {
            running.wait_for_output("ok       config");
        }
        running.signal(Signal::SIGTERM);
        let ended = running.wait();
        assert_eq!(ended.code, Some(75), "{}", ended.stderr);
        assert!(ended.stderr.contains("stopped while waiting for the "), "{}", ended.stderr);
    }
}

#[test]
fn a_second_sigint_ends_at_once() {
    if !can_run(TOGETHER) {
        return;
    }
    let rig = Rig::new(r#"[{"do": "deaf", "at": 2}]"#, &["--ranks", "2"]);
    let mut running = rig.start();
    running.wait_for("step      2/6");
    running.signal(Signal::SIGINT);
    running.wait_for("stopping");
    running.signal(Signal::SIGTERM);
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(ended.stderr.contains("ended at once"), "{}", ended.stderr);
    rig.assert_nothing_is_left();
}

#[test]
fn a_signal_during_the_back_off_ends_the_run() {
    if !can_run(ALONE) {
        return;
    }
    // The fourth restart in a row waits 8 s, which leaves the signal time to arrive.
    let rig = Rig::new(r#"[{"do": "kill", "at": 1}]"#, &[]);
    let mut running = rig.start();
    running.wait_for("restarting in");
    running.wait_for("restarting in");
    running.signal(Signal::SIGTERM);
    let ended = running.wait();
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    assert_eq!(rig.claims().len(), 2);
}

#[test]
fn a_run_that_stands_still_is_restarted() {
    if !can_run(TOGETHER) {
        return;
    }
    let flags = [&["--ranks", "2"], SHORT_STALL.as_slice()].concat();
    let rig = Rig::new(r#"[{"do": "hang", "at": 2}, {"do": "finish"}]"#, &flags);
    let ended = rig.train();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("attempt 1 ended: no rank advanced for 8 s"), "{}", ended.stderr);
    assert_eq!(rig.kinds(1), ["attempt_started", "stall", "attempt_ended", "restart"]);
    assert_eq!(rig.claims().len(), 2);
}

#[test]
fn hundreds_of_idle_connections_at_the_control_port_do_not_end_a_run() {
    if !can_run(ALONE) {
        return;
    }
    let rig = Rig::new(r#"[{"do": "wait"}]"#, &[]);
    // There is room for a few hundred threads beyond those that the launcher needs.
    let mut running = rig.start_within("ulimit -n 256 && ulimit -v 1000000");
    running.wait_for("step      3/6");
    let address = rig.control_address();
    let idle: Vec<_> = (0..600).map(|_| TcpStream::connect(&address).unwrap()).collect();
    running.wait_for("a control connection from 127.0.0.1 was refused");
    running.signal(Signal::SIGTERM);
    let ended = running.wait();
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("was refused").count(), 1, "{}", ended.stderr);
    rig.assert_nothing_is_left();
    drop(idle);
}

#[test]
fn a_worker_of_another_version_is_refused() {
    if !can_run(ALONE) {
        return;
    }
    let rig = Rig::new(r#"[{"do": "wait", "version": 99}]"#, &[]);
    let ended = rig.train();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("the worker speaks protocol 99"), "{}", ended.stderr);
}

#[test]
fn an_attempt_that_was_handed_on_is_run_once_claims_nothing_and_is_passed_on() {
    if !can_run(TOGETHER) {
        return;
    }
    let rig = Rig::new(r#"[{"do": "kill", "rank": 1, "at": 2}]"#, &[]);
    let train = |attempt| {
        let arguments = ["train", "--config", "run.toml", "--ranks", "2"];
        rig.launcher().args(arguments).env("CONVOY_ATTEMPT", attempt).output().unwrap()
    };
    let ended = train("7");
    assert_eq!(ended.status.code(), Some(4));
    rig.assert_nothing_is_left();
    assert!(!rig.run("attempts").exists() && !rig.run("logs").exists() && !rig.run("config.toml").exists());
    assert_eq!(rig.names("events"), ["attempt-0007-inner-launcher"]);

    let told = String::from_utf8(ended.stdout).unwrap();
    let lines_with = |text: &str| told.lines().filter(|line| line.contains(text)).count();
    assert_eq!(lines_with("[1,1]<stdout>:threads "), 1, "{told}");
    assert!(
        lines_with(r#"convoy-relay {"kind":"message","rank":0,"message":{"type":"progress","step":1,"#) == 1,
        "{told}"
    );
    // Heartbeats are passed on only where phase and rank are new.
    assert_eq!(lines_with(r#""type":"heartbeat""#), 4, "{told}");
    let end = told.lines().last().unwrap().strip_prefix("convoy-relay ").unwrap();
    let end: Value = serde_json::from_str(end).unwrap();
    assert_eq!((&end["kind"], &end["code"], &end["rank"]), (&json!("ended"), &json!("communication"), &json!(1)));

    for not_a_number in ["", "0", "third"] {
        assert_eq!(train(not_a_number).status.code(), Some(2), "{not_a_number:?}");
    }
}
