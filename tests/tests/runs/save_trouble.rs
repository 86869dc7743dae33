//! Tests of saves that are due by the clock, that take too long, and that fail on one rank or on all. The run continues with
//! the losses of an undisturbed one, or ends with what a person should know.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use common::checkpoint_store;
use common::exit_code::ExitCode;
use common::storage::Folder;
use tests::credentials::CredentialService;
use tests::faults::{Fault, Plan};
use tests::process::Running;
use tests::s3::{ACCESS_KEY, OTHER_ACCESS_KEY};
use tests::scratch::{Scratch, losses};
use tests::store::Store;
use tests::training::{DEADLINE, by_launcher, by_mpirun, ended, run, slowly, turn, very_slowly};

const SHORT: [&str; 2] = ["train.max_steps=24", "evaluation.every_steps=0"];

/// Losses of an undisturbed run.
static UNDISTURBED: LazyLock<BTreeMap<u64, f64>> = LazyLock::new(|| {
    let scratch = Scratch::new();
    run(by_mpirun(2, &scratch.config("whole", &SHORT)), ExitCode::Done, &[]);
    losses(&scratch.url("whole"))
});

/// Returns a store for runs with their data on the disk.
fn store() -> Store {
    Store::over(Scratch::new())
}

/// Writes the config of the run `run` in `store`.
fn config(store: &Store, overrides: &[&str]) -> PathBuf {
    let in_store = ["run.output=s3://runs/run", "storage.backoff_max_ms=200"];
    store.scratch.config("run", &[&SHORT[..], &in_store, overrides].concat())
}

/// Returns the losses of the run in `store`.
fn losses_in(store: &Store) -> BTreeMap<u64, f64> {
    losses(&store.scratch.url("runs/run"))
}

/// Returns the steps of the checkpoints that count in the run folder at `url`.
fn steps(folder: &Folder) -> Vec<u64> {
    let found = checkpoint_store::list(folder).unwrap();
    found.iter().filter(|found| found.counts()).map(|found| found.name.step).collect()
}

fn steps_in(store: &Store) -> Vec<u64> {
    steps(&store.scratch.folder("runs/run"))
}

#[test]
fn the_clock_asks_for_saves() {
    let _turn = turn();
    let scratch = Scratch::new();
    let by_time = ["checkpoint.every_steps=0", "checkpoint.every_minutes=0.01", "checkpoint.keep_last=0"];
    let first = ["checkpoint.every_steps=1000", "checkpoint.first_after_s=1", "checkpoint.keep_last=0"];
    for (name, settings, least) in [("time", by_time, 3), ("first", first, 2)] {
        run(very_slowly(by_mpirun(2, &scratch.config(name, &[&SHORT[..], &settings].concat()))), ExitCode::Done, &[]);
        let saved = checkpoint_store::list(&scratch.folder(name)).unwrap();
        let committed = saved.iter().filter(|found| found.counts()).count();
        // One of them is the last checkpoint.
        assert!(committed >= least && (name == "time" || committed == 2), "{name}: {committed}");
        assert_eq!(losses(&scratch.url(name)), *UNDISTURBED);
    }
}

#[test]
fn a_save_that_takes_too_long_is_waited_for_or_the_next_is_left_out() {
    let _turn = turn();
    for (when_busy, words, at_least) in [
        ("skip", "no save, since the one before is still under way", 2),
        ("wait", "waiting for the save before, which is still under way", 8),
    ] {
        let store = store();
        store.meets(Fault::Silence, "PUT /runs/run/checkpoints/", 250);
        let when_busy = format!("checkpoint.when_busy={when_busy}");
        let config = config(&store, &["checkpoint.every_steps=3", "checkpoint.keep_last=0", &when_busy]);
        run(store.environment(by_mpirun(2, &config)), ExitCode::Done, &[words]);
        let steps = steps_in(&store);
        assert!(steps.len() >= at_least && (at_least == 8 || steps.len() < 8), "{when_busy}: {steps:?}");
        assert_eq!(losses_in(&store), *UNDISTURBED);
    }
}

#[test]
fn the_upload_of_one_rank_fails() {
    let _turn = turn();
    let store = store();
    store.meets(Fault::InternalError, "optimizer-00002-of-00002", 0);
    let config = config(&store, &["checkpoint.every_steps=4", "checkpoint.max_failures=30", "storage.deadline_s=3"]);
    let mut running = Running::start(very_slowly(store.environment(by_mpirun(2, &config))));
    running.wait_for("failed: rank 1: ", DEADLINE);
    assert_eq!(steps_in(&store), [0; 0], "nothing is committed without it");
    store.faults().follow(Plan::default());
    let words = ["optimizer-00002-of-00002.safetensors: storage did not do it within", "the run goes on"];
    ended(running, ExitCode::Done, &words);
    assert_eq!(losses_in(&store), *UNDISTURBED);
    assert_eq!(steps_in(&store).last(), Some(&24));
}

/// Every part of an upload is a request of its own, and the key expires between two of them.
#[test]
fn credentials_expire_in_the_middle_of_an_upload() {
    let _turn = turn();
    let store = store();
    let service = CredentialService::start(store.scratch.path(), ACCESS_KEY);
    let first_part = "optimizer-00001-of-00001.safetensors?partNumber=1";
    store.faults().expire_after(ACCESS_KEY, first_part);
    let config = config(&store, &["checkpoint.every_steps=8", "checkpoint.max_failures=1"]);
    let mut command = store.environment(by_mpirun(1, &config));
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").envs(service.environment());
    let mut running = Running::start(command);
    running.wait_until("a request is refused", DEADLINE, |_| (store.faults().refused() > 0).then_some(()));
    hand_over_uploads(&store, OTHER_ACCESS_KEY);
    service.give(OTHER_ACCESS_KEY);
    let text = ended(running, ExitCode::Done, &["committed s3://runs/run/checkpoints/step-00000008"]);
    assert!(!text.contains(" failed: rank "), "{text}");
    let requests = store.faults().requests();
    let of_upload = || requests.iter().filter(|line| line.contains("/step-00000008") && line.contains("/optimizer-"));
    let sent = [1, 2].map(|part| of_upload().filter(|line| line.contains(&format!("?partNumber={part}&"))).count());
    assert!(sent[0] == 1 && sent[1] > 1, "the second part was to be sent again: {requests:?}");
    assert_eq!(losses_in(&store).len(), 24);
}

/// Moves uploads to another key. The server of the tests ties an upload to the key that began it, which no service does that
/// gives keys for a limited time.
fn hand_over_uploads(store: &Store, key: &str) {
    for entry in fs::read_dir(store.scratch.path()).unwrap().map(Result::unwrap) {
        let name = entry.file_name().display().to_string();
        if name.starts_with(".upload-") && name.ends_with(".json") {
            fs::write(entry.path(), format!("\"{key}\"")).unwrap();
        }
    }
}

/// A small file system mounted in a folder.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: PathBuf, mebibytes: u32) -> Option<Self> {
        fs::create_dir(&folder).unwrap();
        let size = format!("size={mebibytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder);
        match mount.output() {
            Ok(output) if output.status.success() => Some(SmallDisk(folder)),
            Ok(output) => {
                println!("skipped: {mount:?}: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                println!("skipped: {mount:?}: {error}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Writes a file of `bytes` bytes, and tries again where a checkpoint has taken the room for a moment.
fn fill(path: &Path, bytes: usize) {
    let since = Instant::now();
    while let Err(error) = fs::write(path, vec![1; bytes]) {
        let _ = fs::remove_file(path);
        assert!(since.elapsed() < DEADLINE, "{bytes} bytes never fit: {error}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_disk_is_full_for_a_while() {
    let _turn = turn();
    let scratch = Scratch::new();
    // A checkpoint takes 22 MiB, and two are there when the older one is deleted.
    let Some(disk) = SmallDisk::mount(scratch.path().join("small"), 72) else { return };
    let url = format!("run.output=file://{}/run", disk.0.display());
    let settings = [&url, "checkpoint.every_steps=3", "checkpoint.keep_last=1", "checkpoint.max_failures=30"];
    let config = scratch.config("run", &[&SHORT[..], &settings].concat());
    let mut running = Running::start(slowly(by_mpirun(2, &config)));
    running.wait_for("committed ", DEADLINE);
    // Room is left for metrics, and for parts of a checkpoint: what has failed must free its room again.
    let filler = disk.0.join("filler");
    fill(&filler, 33 << 20);
    running.wait_for("; the run goes on, and the next save tries again", DEADLINE);
    let folder = scratch.folder("small/run");
    let kept = steps(&folder);
    assert!(!kept.is_empty() && checkpoint_store::newest(&folder).unwrap().is_some());
    fs::remove_file(&filler).unwrap();
    ended(running, ExitCode::Done, &["No space left on device", "/run/checkpoints/step-00000024"]);
    assert_eq!(losses(&scratch.url("small/run")), *UNDISTURBED);
    let newest = checkpoint_store::newest(&folder).unwrap().unwrap();
    let manifest = checkpoint_store::read_manifest(&folder, &newest).unwrap();
    assert_eq!(newest.step, 24);
    checkpoint_store::verify(&checkpoint_store::folder_of(&folder, &newest), &manifest).unwrap();
}

#[test]
fn failures_in_a_row_end_the_run() {
    let _turn = turn();
    let store = store();
    store.meets(Fault::InternalError, "PUT /runs/run/checkpoints/", 0);
    let settings =
        ["checkpoint.every_steps=4", "checkpoint.max_failures=2", "storage.deadline_s=3", "launch.max_restarts=0"];
    let words = ["the save of step-00000004", "the run goes on", "attempt 1 ended: rank ", " failed (exit 6"];
    let text =
        run(very_slowly(store.environment(by_launcher(2, &config(&store, &settings)))), ExitCode::Storage, &words);
    assert_eq!(text.matches("the run goes on").count(), 1, "{text}");
}

#[test]
fn a_store_that_stays_full_ends_the_run() {
    let _turn = turn();
    let store = store();
    store.meets(Fault::Full, "/runs/run/checkpoints/", 0);
    let settings = ["checkpoint.every_steps=4", "checkpoint.max_failures=2"];
    let words = ["the save of step-00000004", "the run goes on", "the store is full", "failed (exit 3"];
    let text = run(very_slowly(store.environment(by_launcher(2, &config(&store, &settings)))), ExitCode::Data, &words);
    assert!(!text.contains("restarting in"), "{text}");
}

#[test]
fn the_store_is_away_for_a_while() {
    let _turn = turn();
    let mut store = store();
    let mut command = slowly(store.environment(by_mpirun(2, &config(&store, &["checkpoint.every_steps=4"]))));
    command.env("RUST_LOG", "info,common::storage=debug");
    let mut running = Running::start(command);
    running.wait_for("committed ", DEADLINE);
    store.goes_away();
    // Several attempts have failed.
    running.wait_for(": attempt 5: ", DEADLINE);
    store.comes_back();
    let text = ended(running, ExitCode::Done, &["committed s3://runs/run/checkpoints/step-00000024"]);
    assert!(!text.contains(" failed: rank "), "{text}");
    assert_eq!(losses_in(&store), *UNDISTURBED);
}
