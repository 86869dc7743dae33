//! `recovery`: measures how long a run on three hosts takes from the death of a rank to its first new step. Prints the parts
//! as a JSON line.
//!
//! The model is tiny-cpu. The hosts are namespaces of this machine, see [`tests::hosts`].

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::base_config::BASE;
use tests::hosts::Hosts;
use tests::process::{Running, send};

/// Settings by which the run differs from the base config of tests.
const SETTINGS: [&str; 6] = [
    "batch.global_sequences=6",
    "batch.micro_sequences=2",
    "train.max_steps=1000000",
    "checkpoint.every_steps=10",
    "checkpoint.first_after_s=0",
    "launch.threads_per_rank=1",
];
const DEADLINE: Duration = Duration::from_secs(120);

#[allow(clippy::print_stdout, reason = "the result of the program")]
fn main() -> anyhow::Result<()> {
    ensure!(Hosts::are_permitted(), "no hosts can be made here");
    let hosts = Hosts::start(3);
    let config = hosts.scratch().path().join("recovery.toml");
    std::fs::write(&config, BASE)?;
    let mut command = hosts.launcher();
    command.args(["train", "--config"]).arg(config);
    for set in SETTINGS.map(str::to_owned).into_iter().chain(hosts.settings("run")) {
        command.args(["--set", &set]);
    }
    let mut running = Running::start(command);
    running.wait_for("checkpoints/step-00000010", DEADLINE);
    let victim = *hosts.processes(1, "worker").first().context("a rank runs on the second host")?;
    let start = Instant::now();
    send(victim, Signal::SIGKILL);
    let mut printed_by = |part: &str, text: &str| {
        running.wait_until(text, DEADLINE, |running| {
            let printed = running.printed();
            let (_, since) = printed.split_once(part)?;
            since.contains(text).then(|| start.elapsed().as_secs_f64())
        })
    };
    let ended = printed_by("", "attempt 1 ended");
    let started = printed_by("attempt 1 ended", "attempt 2: 3 ranks on 3 hosts");
    let resumed = printed_by("attempt 2:", "resumed from");
    let stepped = printed_by("resumed from", "\nstep ");
    // The rank that was killed could say nothing, so its attempt ended when mpirun did, before the hosts were cleared.
    let cleared = event(&hosts, "attempt_ended")?["cleared_ms"].as_f64().context("the event says it")? / 1e3;
    let waited = event(&hosts, "restart")?["delay_s"].as_f64().context("the event says it")?;
    drop(running);
    let parts = json!({
        "total_s": stepped,
        "noticed_s": ended - cleared,
        "killed_s": cleared,
        "waited_s": waited,
        "placed_s": started - ended - waited,
        "started_s": resumed - started,
        "restored_s": stepped - resumed,
    });
    println!("{parts}");
    Ok(())
}

/// Returns the launcher's event of `kind` in the first attempt.
fn event(hosts: &Hosts, kind: &str) -> anyhow::Result<Value> {
    let folder = hosts.scratch().folder("run/events/attempt-0001-launcher");
    let parts: Result<Vec<_>, _> = folder.list()?.iter().map(|part| folder.get(&part.name)).collect();
    let text = parts?.iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect::<String>();
    let mut events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.find(|event| event["kind"] == kind).with_context(|| format!("the launcher notes {kind}"))
}
