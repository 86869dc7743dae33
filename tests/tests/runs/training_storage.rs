//! Tests of training on 2 ranks from an S3 server that fails in the middle of the run. The run ends with what a person should
//! know, or continues with the losses, in all digits, of an undisturbed run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use common::exit_code::ExitCode;
use tests::credentials::CredentialService;
use tests::faults::{Fault, Plan};
use tests::process::Running;
use tests::s3::{ACCESS_KEY, OTHER_ACCESS_KEY};
use tests::scratch::{Scratch, losses};
use tests::store::Store;
use tests::training::{DEADLINE, by_launcher, by_mpirun, ended, run, turn};

/// Number of shards of one sequence each, so that the 320 sequences of a run are 320 reads, most of them late.
const SHARDS: usize = 400;
const SHARD_TOKENS: usize = 33;

/// Setting with which the run must read again what it does not keep.
const NO_CACHE: &str = "data.cache_bytes=0";

/// Losses of a run over these shards on a disk.
static UNDISTURBED: LazyLock<BTreeMap<u64, f64>> = LazyLock::new(|| {
    let scratch = Scratch::new();
    scratch.add_data_set("many", SHARDS, SHARD_TOKENS);
    let config = scratch.config("run", &[&format!("data.train=[{{ url = \"{}\" }}]", scratch.url("many"))]);
    run(by_mpirun(2, &config), ExitCode::Done, &[]);
    let losses = losses(&scratch.url("run"));
    assert!(losses.keys().copied().eq(1..=40));
    losses
});

/// Creates a store with the shards, in the bucket `many`.
fn store() -> Store {
    let scratch = Scratch::new();
    scratch.add_data_set("many", SHARDS, SHARD_TOKENS);
    Store::over(scratch)
}

/// Makes every read of a shard slow from now on, so that the run is not over before something has happened to it.
fn is_slow(store: &Store) {
    store.meets(Fault::Silence, "GET /many/shard-", 100);
}

fn config(store: &Store, overrides: &[&str]) -> PathBuf {
    let patience = ["storage.request_timeout_s=2", "storage.stall_timeout_s=1", "storage.backoff_max_ms=200"];
    let data = "data.train=[{ url = \"s3://many\" }]";
    store.scratch.config("run", &[&[data], &patience[..], overrides].concat())
}

/// Returns the shards that no rank has asked for yet.
fn unread(store: &Store) -> Vec<PathBuf> {
    let requests = store.faults().requests();
    let names = (0..SHARDS).map(|i| format!("shard-{i:06}.bin"));
    let unread = names.filter(|name| !requests.iter().any(|request| request.contains(name.as_str())));
    unread.map(|name| store.scratch.path().join("many").join(name)).collect()
}

/// Returns the losses of the run on the disk.
fn losses_of(store: &Store) -> BTreeMap<u64, f64> {
    losses(&store.scratch.url("run"))
}

#[test]
fn a_shard_that_is_deleted_in_the_middle_of_a_run() {
    let words =
        ["does not exist, but the index.json beside it lists it; copy or prepare it again", "attempt 1 ended: rank"];
    loses_data(by_launcher, |shard| fs::remove_file(shard).unwrap(), &words);
}

#[test]
fn a_shard_that_is_damaged_in_the_middle_of_a_run() {
    let flip = |shard: &Path| {
        let mut content = fs::read(shard).unwrap();
        *content.last_mut().unwrap() ^= 1;
        fs::write(shard, content).unwrap();
    };
    let words = ["block 0 (bytes 0..1048576) has SHA-256", ": damaged; copy or prepare it again"];
    loses_data(by_mpirun, flip, &words);
}

/// Does `damage` to all shards that were not read yet, once there is a checkpoint. The run must end, naming one of them with
/// `words`. When they are whole again it must resume from a checkpoint, with the losses of an undisturbed run.
fn loses_data(command: fn(u32, &Path) -> Command, damage: impl Fn(&Path), words: &[&str]) {
    let _turn = turn();
    let store = store();
    is_slow(&store);
    let config = config(&store, &[NO_CACHE, "checkpoint.every_steps=2"]);
    let mut running = Running::start(store.environment(command(2, &config)));
    running.wait_for("committed ", DEADLINE);
    let unread = unread(&store);
    let contents: Vec<_> = unread.iter().map(|shard| fs::read(shard).unwrap()).collect();
    unread.iter().for_each(|shard| damage(shard));
    let text = ended(running, ExitCode::Data, words);
    let named = |shard: &PathBuf| text.contains(&format!("s3://many/{}", shard.file_name().unwrap().display()));
    assert!(unread.iter().any(named), "{text}");
    assert!(text.contains("rank 0") || text.contains("rank 1"), "{text}");

    unread.iter().zip(contents).for_each(|(shard, content)| fs::write(shard, content).unwrap());
    store.faults().follow(Plan::default());
    run(store.environment(command(2, &config)), ExitCode::Done, &["resumed from step-"]);
    assert_eq!(losses_of(&store), *UNDISTURBED);
}

#[test]
fn bytes_that_are_wrong_once_are_read_again() {
    let _turn = turn();
    let store = store();
    let (kinds, only) = (vec![Fault::WrongBytes], "GET /many/shard-".into());
    store.faults().follow(Plan { rate: 1.0, kinds, only, once: true, ..Plan::default() });
    run(
        store.environment(by_mpirun(2, &config(&store, &[NO_CACHE]))),
        ExitCode::Done,
        &["reading the block once more"],
    );
    assert!(store.faults().count(Fault::WrongBytes) >= 300, "{}", store.faults().count(Fault::WrongBytes));
    assert_eq!(losses_of(&store), *UNDISTURBED);
}

#[test]
fn a_store_that_stays_away_ends_the_run() {
    let _turn = turn();
    let mut store = store();
    let config = config(&store, &[NO_CACHE, "storage.deadline_s=3", "launch.max_restarts=0"]);
    for command in [by_mpirun, by_launcher] {
        is_slow(&store);
        let mut running = Running::start(store.environment(command(2, &config)));
        // The launcher formats steps with padding.
        running.wait_until("the third step", DEADLINE, |running| {
            let text = running.printed();
            (text.contains("step 3/40") || text.contains("step      3/40")).then_some(())
        });
        store.goes_away();
        let words = ["s3://many/shard-", "storage did not do it within storage.deadline_s = 3, tried ", " times: "];
        let text = ended(running, ExitCode::Storage, &words);
        assert!(
            text.contains("onnect") && text.contains("check that the store is up and reachable from here"),
            "{text}"
        );
        store.comes_back();
        fs::remove_dir_all(store.scratch.path().join("run")).unwrap();
    }
}

#[test]
fn an_outage_is_waited_out() {
    let _turn = turn();
    let mut store = store();
    is_slow(&store);
    let mut command = store.environment(by_mpirun(2, &config(&store, &[NO_CACHE])));
    command.env("RUST_LOG", "info,common::storage=debug");
    let mut running = Running::start(command);
    running.wait_for("step 3/40", DEADLINE);
    store.goes_away();
    // Several attempts have failed.
    running.wait_for(": attempt 5: ", DEADLINE);
    store.comes_back();
    // The outage met a look-up or a read.
    ended(running, ExitCode::Done, &["s3://many/shard-"]);
    assert_eq!(losses_of(&store), *UNDISTURBED);
}

#[test]
fn credentials_that_expire_are_exchanged() {
    let _turn = turn();
    let store = store();
    let service = CredentialService::start(store.scratch.path(), ACCESS_KEY);
    is_slow(&store);
    let config = config(&store, &[NO_CACHE, "run.output=s3://runs/run", "checkpoint.every_steps=5"]);
    let mut command = store.environment(by_mpirun(2, &config));
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").envs(service.environment());
    let mut running = Running::start(command);
    running.wait_for("step 3/40", DEADLINE);
    service.give(OTHER_ACCESS_KEY);
    store.faults().expire(ACCESS_KEY);
    ended(running, ExitCode::Done, &["committed s3://runs/run/checkpoints/step-00000040"]);
    // Shards and the run folder are opened by each rank.
    assert!(store.faults().refused() >= 3, "{}", store.faults().refused());
    assert_eq!(losses(&store.scratch.url("runs/run")), *UNDISTURBED);
}

#[test]
fn a_fifth_of_the_requests_fails() {
    let _turn = turn();
    let store = store();
    // Everything is there, and the silences are longer than anybody waits.
    let config = config(
        &store,
        &["run.output=s3://runs/run", "data.validation=[{ url = \"s3://validation\" }]", "storage.backoff_min_ms=10"],
    );
    store.faults().follow(Plan::parse("rate=0.2,seed=3,silence_ms=30000").unwrap());
    run(store.environment(by_mpirun(2, &config)), ExitCode::Done, &[]);
    let kinds = [
        Fault::SlowDown,
        Fault::InternalError,
        Fault::Reset,
        Fault::Cut,
        Fault::Silence,
        Fault::Stall,
        Fault::LostAnswer,
    ];
    for kind in kinds {
        assert!(store.faults().count(kind) > 0, "{kind:?} never came");
    }
    assert_eq!(losses(&store.scratch.url("runs/run")), *UNDISTURBED);
}
