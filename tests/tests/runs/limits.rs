//! Tests of a machine's limits: few processes, few files, little memory, and other users beside the run. The run says which
//! limit it met, ends every rank, and never reports a bug.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::exit_code::ExitCode;
use nix::unistd::{Uid, geteuid};
use tests::process::{Running, both};
use tests::scratch::Scratch;
use tests::training::{DEADLINE, by_launcher, ended, run, turn};

/// Returns `command` run as the user `uid`, who owns nothing here, may read everything (the programs may lie in somebody's
/// home), and keeps to `limit`, an option of prlimit.
fn as_user(uid: u32, limit: &str, home: &Path, command: &Command) -> Command {
    let mut wrapped = Command::new("setpriv");
    wrapped
        .args([format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".into()])
        .args(["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"])
        .args(["prlimit", limit])
        // The folders that the harness gives its processes are root's; this process takes those of any user.
        .args(["env", "-u", "OMPI_MCA_orte_tmpdir_base", "-u", "OMPI_MCA_btl_vader_backing_directory"])
        .arg(format!("HOME={}", home.display()))
        .arg(command.get_program())
        .args(command.get_args())
        .env_remove("RUST_LOG");
    wrapped
}

/// Creates a scratch that belongs to the user `uid`.
fn scratch_of(uid: u32) -> Scratch {
    let scratch = Scratch::new();
    give(scratch.path(), uid);
    scratch
}

fn give(path: &Path, uid: u32) {
    nix::unistd::chown(path, Some(Uid::from_raw(uid)), None).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path(), uid));
    }
}

/// Returns whether this test can become other users; prints where it cannot.
fn is_root() -> bool {
    if !geteuid().is_root() {
        println!("skipped: only root can become other users");
    }
    geteuid().is_root()
}

#[test]
fn two_users_of_a_host_train_at_once() {
    if !is_root() {
        return;
    }
    let _turn = turn();
    let users = [54_321, 54_322];
    let runs = users.map(|uid| {
        let scratch = scratch_of(uid);
        // By default, caches and what ranks share lie in folders that every user of a host can reach.
        let config = scratch.config("run", &["data.cache_dir=", "train.max_steps=10"]);
        give(&config, uid);
        let command = as_user(uid, "--core=0", scratch.path(), &by_launcher(2, &config));
        (Running::start(command), scratch)
    });
    for (running, _scratch) in runs {
        ended(running, ExitCode::Done, &[]);
    }
}

#[test]
fn few_processes_or_open_files_are_never_taken_for_a_bug() {
    if !is_root() {
        return;
    }
    let _turn = turn();
    let uid = 54_323;
    let scratch = scratch_of(uid);
    for limit in ["--nproc=1", "--nproc=6", "--nproc=14", "--nproc=20", "--nofile=8", "--nofile=16", "--nofile=40"] {
        let config = scratch.config("run", &["train.max_steps=2", "optimizer.warmup_steps=0", "launch.max_restarts=0"]);
        let output =
            Running::start(as_user(uid, limit, scratch.path(), &by_launcher(2, &config))).finish_alone(DEADLINE);
        let (text, code) = (both(&output), output.status.code());
        assert!(
            code.is_some_and(|code| code != i32::from(ExitCode::Bug.number())),
            "{limit}: {}\n{text}",
            output.status
        );
        assert!(!text.contains("please report"), "{limit}\n{text}");
    }
}

/// A memory cgroup for one test, removed at the end.
struct MemoryCgroup(PathBuf);

impl MemoryCgroup {
    /// Creates a cgroup with this limit. Returns `None`, and prints why, where the system has or grants none.
    fn of(bytes: u64) -> Option<Self> {
        let name = format!("convoy-test-{}", std::process::id());
        let version_1 = (Path::new("/sys/fs/cgroup/memory").join(&name), "memory.limit_in_bytes");
        let version_2 = (Path::new("/sys/fs/cgroup").join(&name), "memory.max");
        for (folder, limit) in [version_1, version_2] {
            let is_made = folder.parent().is_some_and(Path::is_dir) && fs::create_dir(&folder).is_ok();
            let cgroup = is_made.then(|| MemoryCgroup(folder.clone()));
            if let Some(cgroup) = cgroup.filter(|_| fs::write(folder.join(limit), bytes.to_string()).is_ok()) {
                return Some(cgroup);
            }
        }
        println!("skipped: no memory cgroup can be made here");
        None
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn ranks_that_the_system_kills_for_memory_are_said_to_be_lost_for_that() {
    let _turn = turn();
    let Some(cgroup) = MemoryCgroup::of(150 << 20) else { return };
    let scratch = Scratch::new();
    let config = scratch.config("run", &["launch.max_restarts=0"]);
    let command = by_launcher(2, &config);
    let mut limited = Command::new("sh");
    let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", cgroup.0.display());
    limited.args(["-c", &script, "sh"]).arg(command.get_program()).args(command.get_args()).env_remove("RUST_LOG");
    let text = run(limited, ExitCode::Communication, &["rank"]);
    assert!(text.contains("out of memory"), "{text}");
}
