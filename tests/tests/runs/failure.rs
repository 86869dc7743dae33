//! Tests of faults that end every rank, with the right exit code and words that say what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::exit_code::ExitCode;
use common::host_name::host_name;
use common::token_shard::{INDEX_NAME, Index, ShardEntry};
use common::tokenizer::Tokenizer;
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::process::{Running, send, worker};
use tests::scratch::{Scratch, losses};
use tests::training::{DEADLINE, by_launcher, by_mpirun, ended, run, turn};

/// Returns `command` with values of the config that a scratch would refuse, or that come only later.
fn set(mut command: Command, overrides: &[&str]) -> Command {
    overrides.iter().for_each(|given| {
        command.args(["--set", given]);
    });
    command
}

#[test]
fn every_fault_of_a_config_is_named_at_once() {
    let _turn = turn();
    let scratch = Scratch::new();
    let config = scratch.config("run", &[]);
    let faults =
        ["model.heads=3", "optimizer.peak_learning_rat=1", "batch.micro_sequences=\"four\"", "train.max_steps=0"];
    let words = [
        "4 faults",
        "model.heads = 3: does not divide model.width = 32",
        "optimizer.peak_learning_rat = 1: unknown key; did you mean peak_learning_rate?",
        "batch.micro_sequences = \"four\": invalid type",
        "train.max_steps = 0: must be at least 1",
    ];
    run(set(by_launcher(2, &config), &faults), ExitCode::Config, &words);
    run(set(by_mpirun(2, &config), &faults), ExitCode::Config, &words);
    assert!(!scratch.path().join("run").exists(), "a refused config leaves nothing behind");
}

#[test]
fn a_missing_shard() {
    refuses_data(|shard| fs::remove_file(shard).unwrap(), "does not exist, but the index.json beside it lists it");
}

#[test]
fn a_truncated_shard() {
    let truncate = |shard: &Path| fs::write(shard, &fs::read(shard).unwrap()[..10_000]).unwrap();
    refuses_data(truncate, "10000 bytes, expected 21024: truncated or overwritten");
}

#[test]
fn a_bit_flipped_shard() {
    refuses_data(flip_a_bit, "block 0 (bytes 0..1048576) has SHA-256");
}

#[test]
fn a_shard_with_the_wrong_magic() {
    // The index says that the data was prepared like this, so its hashes do not give the change away.
    let rewrite = |shard: &Path| {
        let mut content = fs::read(shard).unwrap();
        content[0] ^= 1;
        fs::write(shard, &content).unwrap();
        let path = shard.with_file_name(INDEX_NAME);
        let mut index = Index::parse("of the test", &fs::read(&path).unwrap()).unwrap();
        let entry = index.shards.iter_mut().find(|entry| entry.name == SHARD).unwrap();
        *entry = ShardEntry::describe(SHARD, &content, Tokenizer::GPT2_END_OF_TEXT);
        fs::write(path, index.to_json()).unwrap();
    };
    refuses_data(rewrite, "magic is 20240521, expected 20240520: not a token shard");
}

const SHARD: &str = "shard-000001.bin";

/// Checks that training stops with the shard's name and `words` after `damage`.
fn refuses_data(damage: impl Fn(&Path), words: &str) {
    let _turn = turn();
    let scratch = Scratch::new();
    damage(&scratch.path().join("train").join(SHARD));
    let named = format!("{}/{SHARD}", scratch.url("train"));
    let config = scratch.config("run", &[]);
    run(by_launcher(2, &config), ExitCode::Data, &[&named, words, "attempt 1 ended: rank"]);
    run(by_mpirun(2, &config), ExitCode::Data, &[&named, words]);
}

#[test]
fn a_rank_that_fails_alone_ends_the_others() {
    let _turn = turn();
    let scratch = Scratch::new();
    // The validation set has two shards, of which each rank reads one.
    let source = scratch.path().join("train");
    let copy = scratch.path().join("halves");
    fs::create_dir(&copy).unwrap();
    for name in [INDEX_NAME, "shard-000000.bin"] {
        fs::copy(source.join(name), copy.join(name)).unwrap();
    }
    let halves = format!("data.validation=[{{ url = \"{}\" }}]", scratch.url("halves"));
    let config = scratch.config("run", &[&halves, "evaluation.validation_sequences=624"]);
    run(by_launcher(2, &config), ExitCode::Data, &["attempt 1 ended: rank 1 failed", SHARD]);
    run(by_mpirun(2, &config), ExitCode::Data, &["rank 1: ", SHARD]);
}

/// One of three ranks receives another sum of gradients than the others, and so holds other weights, when a checkpoint is
/// due. The checkpoint is not committed, and the run resumes from the one before, with the losses of an undisturbed run.
#[test]
fn a_rank_that_holds_other_weights_is_named_and_saves_nothing() {
    let _turn = turn();
    let scratch = Scratch::new();
    let settings = ["train.max_steps=15", "checkpoint.every_steps=6", "evaluation.every_steps=0"];
    run(by_mpirun(3, &scratch.config("undisturbed", &settings)), ExitCode::Done, &[]);
    let mut command = by_launcher(3, &scratch.config("run", &settings));
    // The second attempt makes fewer steps than that.
    command.env("CONVOY_TEST_FLIPPED_BIT", "1:12");
    let named = format!("after step 12 rank 1 on {} does not hold what the 2 other ranks do, in", host_name());
    let words = [&*named, "transformer.wte.weight", "resumed from step-00000006-"];
    let printed = run(command, ExitCode::Done, &words);
    assert!(!printed.contains("step-00000012-a0001-"), "{printed}");
    assert!(printed.contains("step-00000012-a0002-"), "{printed}");
    assert_eq!(losses(&scratch.url("run")), losses(&scratch.url("undisturbed")));
}

#[test]
fn missing_credentials() {
    let _turn = turn();
    let scratch = Scratch::new();
    let config = scratch.config("run", &[]);
    let without_credentials = |mut command: Command, url: &str| {
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        // The last resort is the cloud's metadata service; here nobody listens.
        command.env("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1").env("AWS_REGION", "us-east-1");
        set(command, &[url])
    };
    let words = ["s3://no-bucket/x", "access denied", "check the credentials"];
    let train = "data.train=[{ url = \"s3://no-bucket/x\" }]";
    run(without_credentials(by_launcher(2, &config), train), ExitCode::Data, &words);
    run(without_credentials(by_mpirun(2, &config), train), ExitCode::Data, &words);
    run(without_credentials(by_launcher(2, &config), "run.output=s3://no-bucket/x"), ExitCode::Data, &words);
}

/// A finished run of 2 ranks, with checkpoints at steps 6 and 9.
struct Trained {
    scratch: Scratch,
    config: PathBuf,
}

impl Trained {
    fn new() -> Self {
        let scratch = Scratch::new();
        let overrides = ["train.max_steps=9", "checkpoint.every_steps=6"];
        let config = scratch.config("run", &overrides);
        run(by_mpirun(2, &config), ExitCode::Done, &[]);
        let trained = Trained { scratch, config };
        assert_eq!(trained.checkpoints().len(), 2);
        trained
    }

    /// Returns the folders of its checkpoints, oldest first.
    fn checkpoints(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.scratch.path().join("run/checkpoints")).unwrap();
        let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        folders.sort();
        folders
    }

    /// Returns the path of object `name` of the newest checkpoint.
    fn newest(&self, name: &str) -> PathBuf {
        self.checkpoints()[1].join(name)
    }

    /// Checks that the damaged run resumes from step 6 with unchanged losses, and prints `words`. Returns what it printed.
    fn falls_back(&self, words: &[&str]) -> String {
        let before = losses(&self.scratch.url("run"));
        let words = [&["resumed from step-00000006", "step      7/9"], words].concat();
        let text = run(by_launcher(2, &self.config), ExitCode::Done, &words);
        assert_eq!(losses(&self.scratch.url("run")), before);
        text
    }

    /// Checks that the run ends with on_corrupt = "stop", and names `object`.
    fn stops(&self, object: &Path, words: &str) {
        let stop = ["checkpoint.on_corrupt=\"stop\""];
        let named = object.display().to_string();
        run(set(by_launcher(2, &self.config), &stop), ExitCode::Data, &[&named, words]);
    }
}

#[test]
fn a_checkpoint_with_a_missing_object() {
    let _turn = turn();
    let trained = Trained::new();
    let object = trained.newest("model-00001-of-00002.safetensors");
    fs::remove_file(&object).unwrap();
    trained.stops(&object, "the checkpoint is incomplete");
    trained.falls_back(&["skipped a checkpoint:", "model-00001-of-00002.safetensors does not exist"]);
}

#[test]
fn a_checkpoint_with_a_wrong_hash() {
    let _turn = turn();
    let trained = Trained::new();
    let object = trained.newest("optimizer-00002-of-00002.safetensors");
    flip_a_bit(&object);
    trained.stops(&object, "damaged; restore another checkpoint");
    trained.falls_back(&["skipped a checkpoint:", "optimizer-00002-of-00002.safetensors: bytes"]);
}

#[test]
fn a_checkpoint_without_a_manifest_does_not_exist() {
    let _turn = turn();
    let trained = Trained::new();
    fs::remove_file(trained.newest("manifest.json")).unwrap();
    let text = trained.falls_back(&[]);
    assert!(!text.contains("skipped a checkpoint"), "{text}");
}

#[test]
fn a_run_whose_checkpoints_are_all_damaged() {
    let _turn = turn();
    let trained = Trained::new();
    for checkpoint in trained.checkpoints() {
        flip_a_bit(&checkpoint.join("model-00002-of-00002.safetensors"));
    }
    run(
        by_launcher(2, &trained.config),
        ExitCode::Data,
        &["none of its 2 checkpoints can be restored", "step-00000006"],
    );
    run(by_mpirun(2, &trained.config), ExitCode::Data, &["none of its 2 checkpoints can be restored"]);
}

#[test]
fn a_checkpoint_of_another_model() {
    let _turn = turn();
    let trained = Trained::new();
    let words = ["model.layers was 2 and is now 3: this cannot change in the middle of a run"];
    run(set(by_launcher(2, &trained.config), &["model.layers=3"]), ExitCode::Config, &words);
    run(set(by_mpirun(2, &trained.config), &["model.layers=3"]), ExitCode::Config, &words);
}

#[test]
fn a_resume_that_would_read_the_data_in_another_order() {
    let _turn = turn();
    let trained = Trained::new();
    let changed = ["run.seed=2", "batch.sequence_tokens=16"];
    let words = [
        "run.seed was 1 and is now 2: this cannot change",
        "batch.sequence_tokens was 32 and is now 16",
        "data.train's sequences",
    ];
    run(set(by_launcher(2, &trained.config), &changed), ExitCode::Config, &words);
}

#[test]
fn gradients_that_are_not_finite() {
    let _turn = turn();
    let scratch = Scratch::new();
    let config = |run: &str, more: &[&str]| {
        let settings = ["optimizer.peak_learning_rate=1e30", "optimizer.warmup_steps=0"];
        scratch.config(run, &[&settings[..], more].concat())
    };
    let words = ["10 updates in a row were skipped", "lower optimizer.peak_learning_rate"];
    run(by_launcher(2, &config("skips", &[])), ExitCode::Numeric, &words);
    assert_eq!(skipped(&scratch, "skips").len(), 10);
    let words = ["1 update was skipped", "lower optimizer.peak_learning_rate"];
    run(by_launcher(2, &config("stops", &["optimizer.on_bad_norm=stop"])), ExitCode::Numeric, &words);
    assert_eq!(skipped(&scratch, "stops").len(), 1);
}

/// Returns the events of run `run` about skipped updates, each of which must have a reason.
fn skipped(scratch: &Scratch, run: &str) -> Vec<Value> {
    let skipped: Vec<_> = scratch.events(run).into_iter().filter(|event| event["kind"] == "skipped").collect();
    for event in &skipped {
        let text = event["text"].as_str().unwrap();
        assert!(text.ends_with(": gradient norm not finite, update skipped"), "{text}");
    }
    skipped
}

#[test]
fn a_run_folder_that_cannot_be_made() {
    let _turn = turn();
    let scratch = Scratch::new();
    fs::write(scratch.path().join("file"), "in the way").unwrap();
    let config = scratch.config("run", &[&format!("run.output={}", scratch.url("file/run"))]);
    run(by_launcher(2, &config), ExitCode::Storage, &["file/run", "Not a directory"]);
    run(by_mpirun(2, &config), ExitCode::Storage, &["file/run", "Not a directory"]);
}

#[test]
fn a_run_folder_that_is_full() {
    let _turn = turn();
    let scratch = Scratch::new();
    let config = scratch.config("run", &["checkpoint.every_steps=2"]);
    // A limit on the size of files stands in for a full disk: the kernel refuses writes alike. It leaves room for everything
    // except the objects of a checkpoint, the smallest of which has 6.4 MB.
    let limited = scratch.path().join("limited-worker");
    let script = format!("#!/bin/sh\ntrap '' XFSZ\nexec prlimit --fsize=6000000 {} \"$@\"\n", worker().display());
    fs::write(&limited, script).unwrap();
    fs::set_permissions(&limited, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = by_launcher(2, &config);
    command.env("CONVOY_WORKER", limited);
    let words = ["the save of step-00000002", "the save of step-", "the disk is full", "File too large"];
    let text = run(command, ExitCode::Data, &words);
    assert!(!text.contains("restarting in"), "{text}");
}

#[test]
fn a_model_that_does_not_fit_into_memory() {
    let _turn = turn();
    let scratch = Scratch::new();
    let config = scratch.config("run", &["launch.max_restarts=0"]);
    // The size exceeds any address space: it causes a panic in libtorch's allocator, which is what a bug looks like.
    let sizes = ["model.width=65536", "model.layers=4096"];
    run(set(by_launcher(2, &config), &sizes), ExitCode::Bug, &["rank", "bug: "]);
}

#[test]
fn a_lost_rank_is_shown_when_no_restart_is_left() {
    let _turn = turn();
    let scratch = Scratch::new();
    let config = scratch.config("run", &["launch.max_restarts=0"]);
    let mut running = Running::start(by_launcher(2, &config));
    running.wait_for("step      3/", DEADLINE);
    send(running.processes("worker")[0], Signal::SIGKILL);
    ended(running, ExitCode::Communication, &["rank lost: rank ", "giving up after 0 restarts"]);
}

fn flip_a_bit(path: &Path) {
    let mut content = fs::read(path).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(path, content).unwrap();
}
