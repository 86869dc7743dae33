//! Tests of resuming with another config: which keys are free, which need consent, and that a change with consent is part of
//! the run from then on.

use std::path::{Path, PathBuf};
use std::process::Command;

use common::checkpoint_layout::{MANIFEST_NAME, Manifest};
use common::checkpoint_store;
use common::exit_code::ExitCode;
use tests::scratch::{Scratch, losses};
use tests::training::{by_launcher, by_mpirun, run, turn};

/// Settings of ten steps of a schedule of 40, all saved.
const BEGINNING: [&str; 4] =
    ["optimizer.decay_steps=40", "train.max_steps=10", "checkpoint.every_steps=5", "checkpoint.keep_last=0"];

/// A run that has made ten steps, created once for all cases.
struct Begun {
    scratch: Scratch,
    config: PathBuf,
}

impl Begun {
    fn new() -> Self {
        let scratch = Scratch::new();
        let config = scratch.config("run", &BEGINNING);
        run(by_mpirun(2, &config), ExitCode::Done, &[]);
        Begun { scratch, config }
    }

    /// Copies the run, as another run with this beginning.
    fn fork(&self, name: &str) {
        let (from, to) = (self.scratch.folder("run"), self.scratch.folder(name));
        let newest = checkpoint_store::newest(&from).unwrap().unwrap();
        assert!(checkpoint_store::copy(&from, &to, &newest).unwrap());
    }

    fn output(&self, name: &str) -> String {
        format!("run.output={}", self.scratch.url(name))
    }
}

fn with(mut command: Command, sets: &[&str], accepted: &[&str]) -> Command {
    sets.iter().for_each(|given| {
        command.args(["--set", given]);
    });
    accepted.iter().for_each(|key| {
        command.args(["--accept-change", key]);
    });
    command
}

#[test]
fn what_is_free_changes_without_a_word() {
    let _turn = turn();
    let begun = Begun::new();
    let free = [
        "train.max_steps=14",
        "run.name=another",
        "batch.micro_sequences=3",
        "parallel.zero=1",
        "parallel.bucket_bytes=100000",
        "checkpoint.every_steps=3",
        "evaluation.every_steps=7",
        "storage.concurrency=4",
    ];
    run(with(by_mpirun(3, &begun.config), &free, &[]), ExitCode::Done, &["resumed from step-00000010"]);
    assert_eq!(losses(&begun.scratch.url("run")).len(), 14);
}

#[test]
fn what_makes_another_experiment_needs_consent_and_each_key_is_named() {
    let _turn = turn();
    let begun = Begun::new();
    let changed =
        ["train.max_steps=14", "optimizer.peak_learning_rate=0.005", "optimizer.beta1=0.8", "train.precision=bfloat16"];
    let words = [
        "cannot be resumed with this config",
        "optimizer.peak_learning_rate was 0.01 and is now 0.005: give --accept-change optimizer.peak_learning_rate if that",
        "optimizer.beta1 was 0.9 and is now 0.8: give --accept-change optimizer.beta1",
        "train.precision was \"float32\" and is now \"bfloat16\"",
    ];
    run(with(by_launcher(2, &begun.config), &changed, &[]), ExitCode::Config, &words);
    // Consent to one change is none to the others.
    let one = with(by_mpirun(2, &begun.config), &changed, &["optimizer.beta1"]);
    let text = run(one, ExitCode::Config, &words[..2]);
    assert!(!text.contains("optimizer.beta1 was"), "{text}");
    // The schedule ends with the run, unless the config says where it ends.
    let longer = begun.scratch.config("longer", &["train.max_steps=12", &begun.output("run")]);
    let words = ["optimizer.decay_steps was 40 and is now 12", "or optimizer.decay_steps = 40"];
    run(by_mpirun(2, &longer), ExitCode::Config, &words);
    for (key, words) in [
        ("run.seed", "--accept-change run.seed: it cannot change"),
        ("launch.ranks", "--accept-change launch.ranks: it may change without that"),
        ("optimizer.beta3", "there is no such key"),
    ] {
        run(with(by_launcher(2, &begun.config), &[], &[key]), ExitCode::Config, &[words]);
    }
    run(with(by_mpirun(1, &begun.config), &[], &["run.seed"]), ExitCode::Config, &["run.seed: it cannot change"]);
}

#[test]
fn a_run_whose_data_came_in_another_order_is_refused() {
    let _turn = turn();
    let begun = Begun::new();
    let folder = begun.scratch.folder("run");
    let newest = checkpoint_store::newest(&folder).unwrap().unwrap();
    let manifest = checkpoint_store::read_manifest(&folder, &newest).unwrap();
    let older = Manifest { data_order: 1, ..manifest };
    checkpoint_store::folder_of(&folder, &newest).put(MANIFEST_NAME, older.to_json()).unwrap();
    let words = ["Convoy's order of the data was 1 and is now 2: this cannot change"];
    run(with(by_mpirun(2, &begun.config), &["train.max_steps=14"], &[]), ExitCode::Config, &words);
}

/// With consent a run continues and records the change, which is part of the run from then on: when it is stopped and
/// resumed, it has equal losses. This also holds where the order of the data changes, with the global batch and the weights.
#[test]
fn a_change_with_consent_is_recorded_and_part_of_the_run_from_then_on() {
    let _turn = turn();
    let begun = Begun::new();
    let two = |weight: u32| {
        let url = begun.scratch.url("train");
        format!("data.train=[{{ url = \"{url}\" }}, {{ url = \"{url}\", weight = {weight} }}]")
    };
    let cases: [(&str, &[&str], &[&str]); 2] = [
        ("schedule", &["optimizer.peak_learning_rate=0.005"], &["optimizer.peak_learning_rate"]),
        ("batch", &["batch.global_sequences=6"], &["batch.global_sequences"]),
    ];
    for (name, changes, accepted) in cases {
        let (whole, halted) = (format!("{name}-whole"), format!("{name}-halted"));
        [&whole, &halted].into_iter().for_each(|fork| begun.fork(fork));
        let go_on = |output: &str, steps: &str, accepted: &[&str], words: &[&str]| {
            let output = begun.output(output);
            let sets = [&[output.as_str(), steps], changes].concat();
            run(with(by_launcher(2, &begun.config), &sets, accepted), ExitCode::Done, words);
        };
        go_on(&whole, "train.max_steps=16", accepted, &["accepted: ", "resumed from step-00000010"]);
        go_on(&halted, "train.max_steps=13", accepted, &["accepted: "]);
        go_on(&halted, "train.max_steps=16", &[], &["resumed from step-00000013"]);
        let [expected, got] = [&whole, &halted].map(|run| losses(&begun.scratch.url(run)));
        assert!(expected.keys().copied().eq(11..=16));
        assert_eq!(got, expected, "{name}");
        let folder = begun.scratch.folder(&halted);
        let newest = checkpoint_store::newest(&folder).unwrap().unwrap();
        let manifest = checkpoint_store::read_manifest(&folder, &newest).unwrap();
        let [change] = manifest.changes.as_slice() else { panic!("{:?}", manifest.changes) };
        assert_eq!((change.key.as_str(), change.step, change.sequences_consumed), (accepted[0], 10, 80));
    }
    // For the weights, the data set is there twice. That makes another number of sequences, so this run begins by itself.
    let config = begun.scratch.config("weights", &[&BEGINNING[..], &[&two(1)]].concat());
    run(by_mpirun(2, &config), ExitCode::Done, &[]);
    let changed = [two(3), "train.max_steps=14".to_owned()];
    let changed: Vec<&str> = changed.iter().map(String::as_str).collect();
    let words = ["data.weights was [1.0, 1.0] and is now [1.0, 3.0]: give --accept-change data.weights"];
    run(with(by_mpirun(2, &config), &changed, &[]), ExitCode::Config, &words);
    run(with(by_mpirun(2, &config), &changed, &["data.weights"]), ExitCode::Done, &["accepted: data.weights was"]);
    assert_eq!(losses(&begun.scratch.url("weights")).len(), 14);
}

/// Without a change, a fork has the losses of the run itself.
#[test]
fn a_copy_of_a_checkpoint_is_a_run_that_goes_on_alike() {
    let _turn = turn();
    let begun = Begun::new();
    begun.fork("fork");
    let goes_on = |config: &Path, output: &str| {
        let output = begun.output(output);
        run(
            with(by_mpirun(2, config), &[&output, "train.max_steps=15"], &[]),
            ExitCode::Done,
            &["resumed from step-00000010"],
        );
    };
    goes_on(&begun.config, "run");
    goes_on(&begun.config, "fork");
    let (mut expected, got) = (losses(&begun.scratch.url("run")), losses(&begun.scratch.url("fork")));
    expected.retain(|step, _| *step > 10);
    assert_eq!(got, expected);
}
