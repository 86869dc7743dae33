//! Runs over three hosts, each with a network, a name and disks of its own, by mpirun over ssh. A run finishes, regardless of
//! what happens to a rank, a host or the network. Where the number of ranks stayed, every loss equals, in all digits, that of
//! an undisturbed run. Nothing is left on any host then.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use common::exit_code::ExitCode;
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::hosts::Hosts;
use tests::process::{Running, both, run_with_deadline, send};
use tests::random::Random;
use tests::scratch::losses;
use tests::staged;
use tests::training::{DEADLINE, ended, run, slowly, turn};

/// Variable that makes every fate happen to a run that is listed here; without it, only the first few. `make soak` sets it.
const ALL_VARIABLE: &str = "CONVOY_TEST_ALL_HOSTS";
const STEPS: usize = 40;
/// Small files in the official format of every task, written for tests.
const SMALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../common/evaluation/tests/small");
const SETTINGS: &[&str] = &["train.max_steps=40", "checkpoint.every_steps=4", "checkpoint.keep_last=0"];

/// Three hosts, and the losses of an undisturbed run on them.
struct Rig {
    hosts: Hosts,
    random: Random,
    expected: BTreeMap<u64, f64>,
}

impl Rig {
    fn new() -> Self {
        let (hosts, random) = (Hosts::start(3), Random::fresh());
        let running = Running::start(hosts.train("whole", SETTINGS));
        ended(running, ExitCode::Done, &["attempt 1: 3 ranks on 3 hosts, 1 thread each"]);
        hosts.assert_nothing_is_left();
        let expected = losses(&hosts.scratch().url("whole"));
        assert_eq!(expected.len(), STEPS);
        Rig { hosts, random, expected }
    }

    /// Starts a run, slowly, and waits until it has saved and made some more steps.
    fn start(&mut self, run: &str, settings: &[&str]) -> Running {
        let mut running = self.start_again(run, settings);
        running.wait_for("checkpoints/step-00000004", DEADLINE);
        std::thread::sleep(Duration::from_millis(self.random.below(1000)));
        running
    }

    fn start_again(&self, run: &str, settings: &[&str]) -> Running {
        Running::start(slowly(self.hosts.train(run, &[SETTINGS, settings].concat())))
    }

    /// Checks that the run finishes as an undisturbed one does.
    fn finishes(&self, run: &str, running: Running, words: &[&str]) -> String {
        let text = ended(running, ExitCode::Done, words);
        self.hosts.assert_nothing_is_left();
        let got = losses(&self.hosts.scratch().url(run));
        assert!(got == self.expected, "{run}: {got:?}, expected {:?}\n{text}", self.expected);
        text
    }

    /// Returns what `launcher check` prints about run `run`.
    fn check(&self, run: &str) -> String {
        let mut check = self.hosts.launcher();
        check.args(["check", "--config"]).arg(self.hosts.scratch().path().join(format!("{run}.toml")));
        both(&run_with_deadline(check, DEADLINE))
    }

    /// Returns `launcher prepare` on the first host, over all of them, of the pages in the store.
    fn prepare(&self, output: &str, more: &[&str]) -> Command {
        let (launcher, dir, sets) = (self.hosts.launcher(), self.hosts.scratch().path(), self.hosts.launch_settings());
        let places: [&str; 2] = ["s3://bucket/pages", &format!("s3://bucket/{output}")];
        let mut command = staged::prepare(launcher, dir, places, &sets);
        command.args(more);
        command
    }

    /// Returns a host that the launcher does not run on.
    fn other_host(&mut self) -> usize {
        1 + self.random.below(2) as usize
    }

    fn signal(&self, host: usize, name: &str, signal: Signal) {
        let found = self.hosts.processes(host, name);
        assert!(!found.is_empty(), "no {name} runs on host {host}");
        found.into_iter().for_each(|pid| send(pid, signal));
    }
}

type Fate = fn(&mut Rig);

/// Fates of a run; `make test` has the first three.
const FATES: &[(&str, Fate)] = &[
    ("it is evaluated", it_is_evaluated),
    ("a rank is killed", a_rank_is_killed),
    ("a link is down", a_link_is_down),
    ("data is prepared", data_is_prepared),
    ("mpirun is killed", mpirun_is_killed),
    ("a daemon is killed", a_daemon_is_killed),
    ("the launcher is killed", the_launcher_is_killed),
    ("somebody looks", somebody_looks),
    ("it is stopped", it_is_stopped),
    ("a rank is suspended", a_rank_is_suspended),
    ("packets are lost", packets_are_lost),
    ("a link is squeezed", a_link_is_squeezed),
    ("a rank is cut off from the launcher", a_rank_is_cut_off_from_the_launcher),
    ("a host is gone and comes back", a_host_is_gone_and_comes_back),
    ("a host refuses ssh", a_host_refuses_ssh),
    ("a disk is full", a_disk_is_full),
    ("a binary is corrupt", a_binary_is_corrupt),
];
const FATES_OF_EVERY_TEST: usize = 3;

#[test]
fn three_hosts_come_to_the_same_whatever_befalls_them() {
    let _turn = turn();
    if !Hosts::are_permitted() {
        return;
    }
    let fates = if std::env::var_os(ALL_VARIABLE).is_some() { FATES } else { &FATES[..FATES_OF_EVERY_TEST] };
    let mut rig = Rig::new();
    for (name, befall) in fates {
        let start = Instant::now();
        befall(&mut rig);
        println!("{name}: finished as if it had not been, in {:.0} s", start.elapsed().as_secs_f64());
    }
}

/// Three hosts score what one does, and come to the same digits.
fn it_is_evaluated(rig: &mut Rig) {
    let results = |output: &str, where_to: &[&str]| {
        let mut eval = rig.hosts.launcher();
        eval.args(["eval", "--config"]).arg(rig.hosts.scratch().path().join("whole.toml"));
        eval.args(["--tasks", "ptb,enwik8,text8", "--data", SMALL, "--threads-per-rank", "1", "--json"]);
        eval.args(["--output", &format!("s3://bucket/{output}")]).args(where_to);
        let ended = run_with_deadline(eval, DEADLINE);
        assert!(ended.status.success(), "{}", both(&ended));
        let table: Value = serde_json::from_slice(&ended.stdout).unwrap();
        table.as_array().unwrap().iter().map(|task| task["report"]["results"].clone()).collect::<Vec<_>>()
    };
    let together = results("scores-of-three", &[]);
    rig.hosts.assert_nothing_is_left();
    assert_eq!(together.len(), 3);
    assert_eq!(together, results("scores-of-one", &["--backend", "local", "--ranks", "1"]));
}

/// Three hosts take pages through all stages to what one makes of them, byte for byte, although a rank is killed on one host.
fn data_is_prepared(rig: &mut Rig) {
    staged::put(&rig.hosts.scratch().folder("pages"));
    run(rig.prepare("prepared-by-one", &["--backend", "local", "--ranks", "1"]), ExitCode::Done, &[]);
    let mut running = Running::start(rig.prepare("prepared-by-three", &[]));
    let output = rig.hosts.scratch().folder("prepared-by-three");
    running.wait_until("a part was finished", DEADLINE, |_| staged::is_in_work(&output).then_some(()));
    let host = rig.random.below(3) as usize;
    rig.signal(host, "prepare", Signal::SIGKILL);
    ended(running, ExitCode::Done, &["rank lost", "restarting in", "tokens in "]);
    rig.hosts.assert_nothing_is_left();
    let [by_one, by_three] = [&rig.hosts.scratch().folder("prepared-by-one"), &output].map(staged::prepared);
    assert!(by_one == by_three, "{} and {} objects", by_one.len(), by_three.len());
}

fn a_rank_is_killed(rig: &mut Rig) {
    let running = rig.start("rank-killed", &[]);
    let host = rig.random.below(3) as usize;
    rig.signal(host, "worker", Signal::SIGKILL);
    rig.finishes("rank-killed", running, &["rank lost", "attempt 2: 3 ranks on 3 hosts"]);
}

fn a_link_is_down(rig: &mut Rig) {
    let mut running = rig.start("link-down", &[]);
    let host = rig.other_host();
    rig.hosts.set_link(host, false);
    running.wait_for("attempt 1 ended", DEADLINE);
    running.wait_for(&format!("at least 3 are needed; no answer from {}", rig.hosts.address(host)), DEADLINE);
    rig.hosts.set_link(host, true);
    rig.finishes("link-down", running, &["attempt 2: 3 ranks on 3 hosts"]);
}

fn mpirun_is_killed(rig: &mut Rig) {
    let running = rig.start("mpirun-killed", &[]);
    rig.signal(0, "mpirun", Signal::SIGKILL);
    rig.finishes("mpirun-killed", running, &["attempt 2: 3 ranks on 3 hosts"]);
}

fn a_daemon_is_killed(rig: &mut Rig) {
    let running = rig.start("daemon-killed", &[]);
    let host = rig.other_host();
    rig.signal(host, "orted", Signal::SIGKILL);
    rig.finishes("daemon-killed", running, &["attempt 2: 3 ranks on 3 hosts"]);
}

/// The ranks have not noticed when the next launcher starts, which ends them.
fn the_launcher_is_killed(rig: &mut Rig) {
    let killed = rig.start("launcher-killed", &[]);
    rig.signal(0, "launcher", Signal::SIGKILL);
    let again = rig.start_again("launcher-killed", &[]);
    rig.finishes("launcher-killed", again, &["attempt 2: 3 ranks on 3 hosts"]);
    drop(killed);
}

/// `launcher check` starts ranks beside those of the run.
fn somebody_looks(rig: &mut Rig) {
    let running = rig.start("looked-at", &[]);
    let found = rig.check("looked-at");
    assert!(found.contains("on every host"), "{found}");
    let text = rig.finishes("looked-at", running, &[]);
    assert!(!text.contains("attempt 2"), "{text}");
}

fn it_is_stopped(rig: &mut Rig) {
    let running = rig.start("stopped", &[]);
    rig.signal(0, "launcher", Signal::SIGTERM);
    ended(running, ExitCode::Stopped, &["run the same command to go on"]);
    rig.hosts.assert_nothing_is_left();
    let again = rig.start_again("stopped", &[]);
    rig.finishes("stopped", again, &["attempt 2: 3 ranks on 3 hosts"]);
}

fn a_rank_is_suspended(rig: &mut Rig) {
    let running = rig.start("rank-suspended", &[]);
    let host = rig.random.below(3) as usize;
    rig.signal(host, "worker", Signal::SIGSTOP);
    rig.finishes("rank-suspended", running, &["attempt 2: 3 ranks on 3 hosts", "not heard from for"]);
}

fn packets_are_lost(rig: &mut Rig) {
    let rule = "INPUT -i eth0 -m statistic --mode random --probability 0.02 -j DROP";
    (0..3).for_each(|host| drop(rig.hosts.shell(host, &format!("iptables -A {rule}"))));
    let running = rig.start("packets-lost", &[]);
    rig.finishes("packets-lost", running, &["attempt 1: 3 ranks on 3 hosts"]);
    (0..3).for_each(|host| drop(rig.hosts.shell(host, &format!("iptables -D {rule}"))));
}

fn a_link_is_squeezed(rig: &mut Rig) {
    let running = rig.start("link-squeezed", &[]);
    let cable = rig.hosts.cable(rig.random.below(3) as usize);
    rig.hosts.on_switch(&format!("tc qdisc add dev {cable} root tbf rate 1mbit burst 32kbit latency 400ms"));
    std::thread::sleep(Duration::from_secs(5));
    rig.hosts.on_switch(&format!("tc qdisc del dev {cable} root"));
    rig.finishes("link-squeezed", running, &[]);
}

/// The rank notices by itself, here after about twice its patience: once until silence ends the connection, and once after.
/// The launcher's next attempt has another port.
fn a_rank_is_cut_off_from_the_launcher(rig: &mut Rig) {
    let mut command = rig.hosts.train("cut-off", SETTINGS);
    // The run must not end before the rank notices.
    command.env("CONVOY_TEST_BUCKET_DELAY_MS", "2000");
    let mut running = Running::start(command);
    running.wait_for("checkpoints/step-00000004", DEADLINE);
    let listening = rig.hosts.shell(0, "ss -Hltnp");
    let line = listening.lines().find(|line| line.contains("\"launcher\"")).expect("the launcher listens");
    let local = line.split_whitespace().nth(3).expect("ss prints the local address fourth");
    let (address, port) = local.rsplit_once(':').expect("it ends in a port");
    assert_eq!(address, rig.hosts.address(0), "the launcher listens on no other address");
    let host = rig.other_host();
    rig.hosts.shell(host, &format!("iptables -A OUTPUT -p tcp -d {address} --dport {port} -j DROP"));
    running.wait_for(&format!("rank {host} has lost the launcher"), DEADLINE);
    rig.finishes("cut-off", running, &["attempt 2: 3 ranks on 3 hosts"]);
    rig.hosts.shell(host, "iptables -F OUTPUT");
}

/// With two ranks the losses are equal only up to rounding.
fn a_host_is_gone_and_comes_back(rig: &mut Rig) {
    let host = rig.other_host();
    let mut running = rig.start("host-gone", &["launch.min_ranks=2", "train.max_steps=80"]);
    rig.hosts.switch_off(host);
    running.wait_for("attempt 2: 2 ranks on 2 hosts", DEADLINE);
    running.wait_for(&format!("host {} is left out of this attempt", rig.hosts.address(host)), DEADLINE);
    rig.hosts.switch_on(host);
    let reached = |running: &Running| running.printed().split("attempt 2:").nth(1)?.contains("committed").then_some(());
    running.wait_until("two ranks have saved something", DEADLINE, reached);
    rig.signal(0, "worker", Signal::SIGKILL);
    let text = ended(running, ExitCode::Done, &["attempt 3: 3 ranks on 3 hosts"]);
    rig.hosts.assert_nothing_is_left();
    let got = losses(&rig.hosts.scratch().url("host-gone"));
    let apart = |(step, loss): (&u64, &f64)| got.get(step).map_or(f64::INFINITY, |got| (got - loss).abs());
    // The longer run has another schedule after the warm-up.
    let largest = rig.expected.iter().filter(|(step, _)| **step <= 4).map(apart).fold(0.0, f64::max);
    assert!(got.len() == 80 && largest < 1e-4, "{largest}: {got:?}\n{text}");
}

fn a_host_refuses_ssh(rig: &mut Rig) {
    let mut running = rig.start("ssh-refused", &[]);
    let host = rig.other_host();
    rig.hosts.stop_sshd(host);
    rig.signal(host, "worker", Signal::SIGKILL);
    running.wait_for(&format!("no answer from {}", rig.hosts.address(host)), DEADLINE);
    rig.hosts.start_sshd(host);
    rig.finishes("ssh-refused", running, &["attempt 2: 3 ranks on 3 hosts"]);
}

/// The cache helps, but a run does not need it.
fn a_disk_is_full(rig: &mut Rig) {
    let host = rig.random.below(3) as usize;
    rig.hosts.shell(host, "mount -t tmpfs -o size=4k,mode=700 tmpfs /run/cache");
    let running = rig.start("disk-full", &[]);
    rig.finishes("disk-full", running, &["attempt 1: 3 ranks on 3 hosts", "in data.cache_dir"]);
    rig.hosts.shell(host, "umount /run/cache");
}

/// A binary that only differs is found by looking; one that is cut off does not start at all.
fn a_binary_is_corrupt(rig: &mut Rig) {
    let host = rig.other_host();
    let worker = tests::process::worker().display().to_string();
    let replace = |how: &str| {
        let script = format!(
            "umount {worker} 2>/dev/null || true; {how} > /run/w; chmod +x /run/w; mount --bind /run/w {worker}"
        );
        rig.hosts.shell(host, &script);
    };
    replace(&format!("{{ cat {worker}; echo more; }}"));
    let found = rig.check("whole");
    let differs = format!("on convoy-{}", host + 1);
    assert!(found.contains("executable") && found.contains("differs: ") && found.contains(&differs), "{found}");
    replace(&format!("head -c 100000 {worker}"));
    let mut running = rig.start_again("binary-corrupt", &[]);
    running.wait_for("attempt 1 ended", DEADLINE);
    rig.hosts.shell(host, &format!("umount {worker}; rm /run/w"));
    rig.finishes("binary-corrupt", running, &["3 ranks on 3 hosts"]);
}
