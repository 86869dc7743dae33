//! Tests of the stages of a prepare job on real ranks: pages become documents, and the bytes are equal for any number of ranks
//! and after any kill.

use std::path::PathBuf;
use std::time::Duration;

use common::exit_code::ExitCode;
use serde_json::Value;
use tests::documents::{by_launcher, by_mpirun, files, peak_memory_bytes};
use tests::killed::killed_until_done;
use tests::pages;
use tests::staged::{self, Files};
use tests::training::{DEADLINE, run};

use super::hard_on_memory;

/// Variable that makes the corpus of the memory test large; `make soak` sets it.
const LARGE_VARIABLE: &str = "CONVOY_TEST_LARGE_CORPUS";
/// Memory that a rank may take beside `prepare.memory_bytes`.
const BESIDE_BYTES: u64 = 200_000_000;
/// Bytes that a page has on average, at least.
const PAGE_BYTES: u64 = 12_000;
/// Number of domains that a stage's sums name where there are more.
const DOMAINS_MAX: usize = 1000;
/// `prepare.memory_bytes` for a large corpus.
const LARGE_MEMORY_BYTES: u64 = 64_000_000;
/// Deadline of a job over a large corpus.
const LARGE_DEADLINE: Duration = Duration::from_secs(3600);

/// A folder with pages, for one test.
struct Archives {
    dir: tempfile::TempDir,
}

impl Archives {
    /// Creates `objects` objects of `pages` pages each.
    fn new(objects: u64, pages: u64) -> Self {
        let dir = tempfile::Builder::new().prefix("convoy-test-").tempdir().unwrap();
        pages::write(&dir.path().join("in"), objects, pages);
        Archives { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the config of a job that writes to `output`; returns its path.
    fn config(&self, output: &str) -> PathBuf {
        let place = |name: &str| self.path(name).display().to_string();
        let path = self.path(&format!("{output}.toml"));
        staged::write_config(&path, &place("in"), &place(output));
        path
    }

    fn output(&self, output: &str) -> Files {
        staged::made(&self.path(output))
    }

    /// Returns the sums of each stage of a job that is done.
    fn sums(&self, output: &str) -> [Value; 3] {
        let record = std::fs::read(self.path(output).join("prepare.json")).unwrap();
        let record: Value = serde_json::from_slice(&record).unwrap();
        record["stages"].as_array().unwrap().clone().try_into().unwrap()
    }
}

#[test]
fn ranks_have_no_influence_on_the_bytes_of_stages() {
    let archives = Archives::new(8, 40);
    run(by_launcher(1, &archives.config("one"), &[]), ExitCode::Done, &["documents, "]);
    let one = archives.output("one");
    let count = |end: &str| one.keys().filter(|name| name.ends_with(end)).count();
    let [_, clean, deduplicate] = archives.sums("one");
    assert!(deduplicate["clusters"]["clusters"].as_u64().unwrap() >= 5, "{deduplicate}");
    assert!(deduplicate["kept"].as_u64().unwrap() > 50 && deduplicate["seen"] == clean["kept"], "{deduplicate}");
    assert!(
        count(".documents.parquet") >= 6
            && count(".signatures") >= 2
            && one.keys().any(|name| name.starts_with("train/shard-")),
        "{:?}",
        one.keys()
    );
    for ranks in [2, 4] {
        let name = format!("launcher-{ranks}");
        run(by_launcher(ranks, &archives.config(&name), &[]), ExitCode::Done, &[]);
        assert!(archives.output(&name) == one, "{ranks} ranks");
    }
    run(by_mpirun(3, &archives.config("mpirun"), &[]), ExitCode::Done, &["tokens in "]);
    assert!(archives.output("mpirun") == one);
    run(by_launcher(2, &archives.config("one"), &[]), ExitCode::Done, &["prepared already"]);
    let other = "webtext.clean.length.min_words=51";
    run(
        by_launcher(2, &archives.config("one"), &[other]),
        ExitCode::Data,
        &["the rules of its stages have changed since"],
    );
}

#[test]
fn stages_that_are_killed_at_any_moment_go_on_and_the_bytes_are_the_same() {
    let archives = Archives::new(12, 60);
    run(by_mpirun(2, &archives.config("whole"), &[]), ExitCode::Done, &[]);
    let config = archives.config("killed");
    killed_until_done(|| by_mpirun(2, &config, &[]), &archives.path("killed"));
    let (killed, whole) = (archives.output("killed"), archives.output("whole"));
    assert!(killed.keys().eq(whole.keys()), "{:?} {:?}", killed.keys(), whole.keys());
    assert!(killed == whole);
}

#[test]
fn damaged_units_of_a_stage_that_was_not_done_are_found_and_done_again_by_any_ranks() {
    let archives = Archives::new(8, 40);
    let config = archives.config("out");
    run(by_mpirun(2, &config, &[]), ExitCode::Done, &[]);
    let whole = archives.output("out");
    // As after a kill before the sums of the last stage.
    for name in ["out/train", "out/validation"] {
        std::fs::remove_dir_all(archives.path(name)).unwrap();
    }
    std::fs::remove_file(archives.path("out/prepare.json")).unwrap();
    let of_clean = |end: &str| -> Vec<PathBuf> {
        let files = files(&archives.path("out/stages")).into_iter();
        files.filter(|(name, _)| name.starts_with("clean-") && name.ends_with(end)).map(|(_, path)| path).collect()
    };
    std::fs::remove_file(&of_clean("/stage.json")[0]).unwrap();
    let documents = of_clean(".documents.parquet");
    let [first, .., last] = &documents[..] else { panic!("{documents:?}") };
    for path in [first, last] {
        let mut content = std::fs::read(path).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        std::fs::write(path, content).unwrap();
    }
    let last = format!("unit {} of the stage clean is done again", documents.len() - 1);
    run(by_mpirun(3, &config, &[]), ExitCode::Done, &["unit 0 of the stage clean is done again", &last]);
    assert!(archives.output("out") == whole);
}

#[test]
fn memory_of_stages_does_not_grow_with_the_pages() {
    let peak = |pages: u64| -> u64 {
        let archives = Archives::new(1, pages);
        let sets = ["prepare.memory_bytes=32000000", "launch.threads_per_rank=1"];
        peak_memory_bytes(by_launcher(1, &archives.config("out"), &sets), DEADLINE) >> 20
    };
    let (small, large) = (peak(300), peak(4000));
    println!("peak memory of a rank: {small} MiB for 300 pages, {large} MiB for 4,000");
    assert!(large < small + 64, "{small} MiB, {large} MiB");
}

/// A large corpus is four objects, each of which alone is more than the rank may take, and those of [`hard_on_memory`].
#[test]
fn a_rank_with_stages_stays_within_its_memory_over_twenty_times_as_many_bytes() {
    let is_large = std::env::var_os(LARGE_VARIABLE).is_some();
    // The smallest value that a config allows, or one whose corpus takes minutes.
    let memory_bytes = if is_large { LARGE_MEMORY_BYTES } else { 1 << 20 };
    let archives = Archives::new(4, 20 * memory_bytes / 4 / PAGE_BYTES);
    if is_large {
        hard_on_memory::write(&archives.path("in"));
    }
    assert_memory(&archives, memory_bytes, 0);
    let seen = archives.sums("out")[0]["bytes_in"].as_u64().unwrap();
    assert!(seen >= 20 * memory_bytes, "{seen} bytes are too few to show anything");
    let domains = archives.sums("out")[1]["domains"].as_object().unwrap().len();
    assert!(domains == DOMAINS_MAX || !is_large, "{domains} domains are too few to show anything");
}

#[test]
fn a_frame_with_a_long_window_takes_that_window_more_and_no_object_is_left_out() {
    if std::env::var_os(LARGE_VARIABLE).is_none() {
        println!("skipped: {LARGE_VARIABLE} is not set");
        return;
    }
    let archives = Archives::new(4, 100);
    hard_on_memory::write_long_window(&archives.path("in"));
    assert_memory(&archives, LARGE_MEMORY_BYTES, hard_on_memory::WINDOW_BYTES);
}

/// Runs the stages on one rank, which may take `more_bytes` than usual, and checks that they have read every object.
fn assert_memory(archives: &Archives, memory_bytes: u64, more_bytes: u64) {
    let memory = format!("prepare.memory_bytes={memory_bytes}");
    let sets = [memory.as_str(), "launch.threads_per_rank=2"];
    let peak = peak_memory_bytes(by_launcher(1, &archives.config("out"), &sets), LARGE_DEADLINE);
    let [extract, ..] = archives.sums("out");
    let (seen, mb) = (extract["bytes_in"].as_u64().unwrap(), |bytes: u64| bytes / 1_000_000);
    let [peak_mb, memory_mb, seen_mb] = [peak, memory_bytes, seen].map(mb);
    println!("peak memory of a rank: {peak_mb} MB, with {memory_mb} MB to work in, for {seen_mb} MB of pages");
    assert!(peak <= memory_bytes + BESIDE_BYTES + more_bytes, "{peak} bytes");
    for fault in ["packing", "cut", "too_long"] {
        assert_eq!(extract["dropped"][fault], Value::Null, "no object is left out");
    }
}

#[test]
fn faulty_rules_are_refused_before_any_work() {
    let archives = Archives::new(1, 5);
    let sets = ["webtext.clean.length.min_word=9", "webtext.clean.set=papers"];
    let words = [
        "webtext.clean.length.min_word = 9: unknown key; this table has min_characters, min_words",
        "webtext.clean.set = \"papers\": is no set of rules",
    ];
    run(by_launcher(2, &archives.config("out"), &sets), ExitCode::Config, &words);
    assert!(!archives.path("out/stages").exists());
}
