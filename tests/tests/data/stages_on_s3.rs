//! Tests of stages from S3 to S3: over a store that works, one that fails at every request, one that goes away,
//! and one that is full.

use std::path::PathBuf;
use std::process::Command;

use common::exit_code::ExitCode;
use tests::documents::by_launcher;
use tests::faults::{Fault, Plan};
use tests::killed::{finished, still_there};
use tests::pages;
use tests::process::Running;
use tests::scratch::Scratch;
use tests::staged::{self, Files, shards};
use tests::store::Store;
use tests::training::{DEADLINE, ended, run, turn};

/// URL of the pages.
const PAGES: &str = "s3://pages";

/// Creates a store with pages, in the bucket `pages`.
fn store() -> Store {
    let scratch = Scratch::new();
    pages::write(&scratch.path().join("pages"), 8, 40);
    Store::over(scratch)
}

/// Returns the path of `name` behind the server of `store`.
fn behind(store: &Store, name: &str) -> PathBuf {
    store.scratch.path().join(name)
}

/// Returns the job of 2 ranks from `input` to `output`, which are URLs or paths.
fn prepare(store: &Store, input: &str, output: &str, sets: &[&str]) -> Command {
    let config = behind(store, "prepare.toml");
    staged::write_config(&config, input, output);
    store.environment(by_launcher(2, &config, sets))
}

/// Returns what the job makes in the bucket `runs` while nothing fails.
fn undisturbed(store: &Store) -> Files {
    run(prepare(store, PAGES, "s3://runs/undisturbed", &[]), ExitCode::Done, &["tokens in "]);
    staged::made(&behind(store, "runs/undisturbed"))
}

/// Documents and lineage name the objects that pages come from. Their bytes are compared where these are on S3.
#[test]
fn stages_on_s3_make_the_bytes_that_they_make_on_a_disk() {
    let _turn = turn();
    let store = store();
    let on_s3 = undisturbed(&store);
    let place = |name: &str| behind(&store, name).display().to_string();
    run(prepare(&store, PAGES, &place("from-s3"), &[]), ExitCode::Done, &[]);
    run(prepare(&store, &place("pages"), &place("on-disk"), &[]), ExitCode::Done, &[]);
    let [from_s3, on_disk] = ["from-s3", "on-disk"].map(|name| staged::made(&behind(&store, name)));
    for kind in [".documents.parquet", ".lineage.parquet", "train/index.json", "validation/index.json"] {
        assert!(on_s3.keys().any(|name| name.ends_with(kind)), "no {kind} in {:?}", on_s3.keys());
    }
    assert!(on_s3.keys().eq(from_s3.keys()), "{:?} {:?}", on_s3.keys(), from_s3.keys());
    assert!(on_s3 == from_s3);
    assert!(shards(&on_s3) == shards(&on_disk));
}

#[test]
fn stages_over_a_store_that_fails_at_every_request_once_make_the_same_bytes() {
    let _turn = turn();
    let store = store();
    let expected = undisturbed(&store);
    let kinds = vec![Fault::SlowDown, Fault::InternalError, Fault::Reset, Fault::Cut, Fault::LostAnswer];
    store.faults().follow(Plan { rate: 1.0, seed: 3, kinds, once: true, ..Plan::default() });
    let quickly = ["storage.backoff_min_ms=5", "storage.backoff_max_ms=50"];
    run(prepare(&store, PAGES, "s3://runs/failing", &quickly), ExitCode::Done, &["tokens in "]);
    let (requests, faults) = (store.faults().requests(), store.faults());
    for kind in ["GET /pages/", "GET /runs/failing/stages/", "PUT /runs/failing/stages/", "POST /runs/failing/stages/"]
    {
        assert!(requests.iter().any(|request| request.starts_with(kind)), "no {kind} in {requests:?}");
    }
    // A body can be damaged for reads only, and an answer is lost for any request.
    let (damaged, lost) = (faults.count(Fault::Reset) + faults.count(Fault::Cut), faults.count(Fault::LostAnswer));
    assert!(damaged > 0 && lost > 0, "{damaged} bodies, {lost} answers");
    assert!(staged::made(&behind(&store, "runs/failing")) == expected);
}

#[test]
fn a_store_that_stays_away_ends_stages_with_a_clear_error_and_they_go_on_afterwards() {
    let _turn = turn();
    let mut store = store();
    let (expected, output) = (undisturbed(&store), behind(&store, "runs/away"));
    // What stages have made is put slowly, so that the job is not over before the store goes.
    store.meets(Fault::Silence, "PUT /runs/away/stages/", 300);
    let sets = ["storage.deadline_s=3", "launch.max_restarts=0", "launch.threads_per_rank=1"];
    let mut running = Running::start(prepare(&store, PAGES, "s3://runs/away", &sets));
    running.wait_until("a unit was done", DEADLINE, |_| (!finished(&output).is_empty()).then_some(()));
    store.goes_away();
    let words = [
        "storage did not do it within storage.deadline_s = 3, tried ",
        "check that the store is up and reachable from here",
    ];
    let text = ended(running, ExitCode::Storage, &words);
    assert!(["s3://pages/", "s3://runs/away/"].iter().any(|url| text.contains(url)), "{text}");
    let kept = finished(&output);
    assert!(!output.join("train/index.json").exists(), "it was over before the store went away");

    store.comes_back();
    run(prepare(&store, PAGES, "s3://runs/away", &[]), ExitCode::Done, &["tokens in "]);
    still_there(&kept, &output);
    assert!(staged::made(&output) == expected);
}

#[test]
fn a_store_that_fills_up_ends_stages_with_a_clear_error_and_they_go_on_afterwards() {
    let _turn = turn();
    let store = store();
    let (expected, output) = (undisturbed(&store), behind(&store, "runs/full"));
    // What stages have made is put slowly, so that the job is not over before the store is full.
    store.meets(Fault::Silence, "PUT /runs/full/stages/", 300);
    let mut running = Running::start(prepare(&store, PAGES, "s3://runs/full", &["launch.threads_per_rank=1"]));
    running.wait_until("a unit was done", DEADLINE, |_| (!finished(&output).is_empty()).then_some(()));
    store.meets(Fault::Full, "/runs/full/", 0);
    let words = ["the store is full, or a quota on it is reached: ", "XMinioStorageFull", "run the same command again"];
    let text = ended(running, ExitCode::Data, &words);
    assert!(text.contains("s3://runs/full/") && !text.contains("restarting in"), "{text}");
    assert!(store.faults().count(Fault::Full) > 0);
    let kept = finished(&output);
    assert!(!output.join("train/index.json").exists(), "it was over before the store was full");

    store.faults().follow(Plan::default());
    run(prepare(&store, PAGES, "s3://runs/full", &[]), ExitCode::Done, &["tokens in "]);
    still_there(&kept, &output);
    assert!(staged::made(&output) == expected);
}
