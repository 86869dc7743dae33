//! Tests of going back: to an earlier checkpoint, or to the beginning, and only when the run is told to. What is saved before
//! a run diverges stays, to go back to.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use common::checkpoint_layout::{MANIFEST_NAME, Manifest};
use common::checkpoint_store;
use common::checkpoint_store::Found;
use common::exit_code::ExitCode;
use common::metrics::RunMetrics;
use serde_json::Value;
use tests::process::{both, launcher, run_with_deadline};
use tests::scratch::{Scratch, losses};
use tests::training::{DEADLINE, by_launcher, by_mpirun, run, turn};

/// A finished run of 2 ranks: nine steps, with checkpoints at steps 3, 6 and 9.
struct Done {
    scratch: Scratch,
    config: PathBuf,
}

impl Done {
    fn new() -> Self {
        let scratch = Scratch::new();
        let settings =
            ["train.max_steps=9", "optimizer.decay_steps=40", "checkpoint.every_steps=3", "checkpoint.when_busy=wait"];
        let config =
            scratch.config("run", &[&settings[..], &["checkpoint.keep_last=0", "evaluation.every_steps=0"]].concat());
        run(by_mpirun(2, &config), ExitCode::Done, &[]);
        let done = Done { scratch, config };
        assert_eq!(done.counting(), [(3, 1), (6, 1), (9, 1)]);
        done
    }

    /// Returns step and attempt of the checkpoints that count.
    fn counting(&self) -> Vec<(u64, u32)> {
        let found = checkpoint_store::list(&self.scratch.folder("run")).unwrap().into_iter().filter(Found::counts);
        found.map(|found| (found.name.step, found.name.attempt)).collect()
    }

    /// Returns the number of attempts so far, and the config of the run.
    fn trace(&self) -> (usize, Vec<u8>) {
        let names =
            fs::read_dir(self.scratch.path().join("run/attempts")).unwrap().map(|entry| entry.unwrap().file_name());
        let claims = names.filter(|name| name.to_str().unwrap().ends_with(".json")).count();
        (claims, fs::read(self.scratch.path().join("run/config.toml")).unwrap())
    }
}

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

#[test]
fn a_run_whose_checkpoints_are_gone_begins_anew_only_when_it_is_told_to() {
    let _turn = turn();
    let done = Done::new();
    let (before, trace) = (losses(&done.scratch.url("run")), done.trace());
    fs::remove_dir_all(done.scratch.path().join("run/checkpoints")).unwrap();
    let words = ["earlier attempts have saved one after step 9", "--from-scratch"];
    for command in [by_launcher(2, &done.config), by_mpirun(2, &done.config)] {
        let text = run(command, ExitCode::Data, &words);
        assert_eq!(text.matches("earlier attempts have saved").count(), 1, "{text}");
    }
    assert_eq!(done.trace(), trace, "a refused start has left a trace");
    let words = ["went back to the beginning (attempt 2)", "step      1/9"];
    run(with(by_launcher(2, &done.config), &["--from-scratch"]), ExitCode::Done, &words);
    assert_eq!(done.counting(), [(3, 3), (6, 3), (9, 3)]);
    assert_eq!(losses(&done.scratch.url("run")), before);
}

#[test]
fn later_checkpoints_do_not_count_once_a_run_has_gone_back() {
    let _turn = turn();
    let done = Done::new();
    let (before, trace) = (losses(&done.scratch.url("run")), done.trace());
    for (from, words) in [
        ("4", "no checkpoint of step 4 to go on from; there are those of step 3, 6, 9"),
        ("step-4", "neither a number of steps nor a checkpoint's name"),
    ] {
        run(with(by_launcher(2, &done.config), &["--from", from]), ExitCode::Config, &[words]);
    }
    let refused = ["--from", "3", "--set", "optimizer.beta1=0.8"];
    run(with(by_launcher(2, &done.config), &refused), ExitCode::Config, &["give --accept-change optimizer.beta1"]);
    assert_eq!(done.trace(), trace, "a refused start has left a trace");
    let words = [
        "went back to step-00000003-a0001-",
        "later checkpoints that do not count any more: 2",
        "resumed from step-00000003",
    ];
    run(with(by_launcher(2, &done.config), &["--from", "3"]), ExitCode::Done, &words);
    assert_eq!(done.counting(), [(3, 1), (6, 3), (9, 3)]);
    assert_eq!(losses(&done.scratch.url("run")), before);
    run(by_launcher(2, &done.config), ExitCode::Done, &["the run was complete already, at step 9"]);
    metrics_count_as_checkpoints_do(&done, &before);
}

/// Goes back once more, to the third step and on to the fifth, and looks at the metrics, which are `before` at each step.
fn metrics_count_as_checkpoints_do(done: &Done, before: &BTreeMap<u64, f64>) {
    let shorter = ["--from", "3", "--set", "train.max_steps=5"];
    run(
        with(by_launcher(2, &done.config), &shorter),
        ExitCode::Done,
        &["done: 5 steps", "--from-scratch begins again"],
    );
    let records = RunMetrics::read(&done.scratch.folder("run")).unwrap();
    assert_eq!(records.steps.len(), 9, "what does not count stays recorded");
    let rows: Vec<Value> = serde_json::from_str(&metrics(&done.scratch.url("run"), "--json")).unwrap();
    let places: Vec<_> =
        rows.iter().map(|row| (row["step"].as_u64().unwrap(), row["attempt"].as_u64().unwrap())).collect();
    assert_eq!(places, [(1, 1), (2, 1), (3, 1), (4, 6), (5, 6)]);
    for row in &rows {
        let step = row["step"].as_u64().unwrap();
        let record = serde_json::to_value(&records.steps[&step]).unwrap();
        for (key, value) in record.as_object().unwrap() {
            assert_eq!(&row[key], value, "{key} of step {step}");
        }
    }
    let csv = metrics(done.config.to_str().unwrap(), "--csv");
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let column = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let losses: BTreeMap<u64, f64> =
        lines.map(|line| (line[column("step")].parse().unwrap(), line[column("loss")].parse().unwrap())).collect();
    assert!(losses.iter().eq(before.iter().take(5)), "{csv}");
    assert_eq!(rows[4]["validation_loss"].as_f64(), Some(records.validations[&5].validation_loss));
}

/// Returns what `launcher metrics` prints about `target`, a config or a run folder.
fn metrics(target: &str, format: &str) -> String {
    let mut command = Command::new(launcher());
    command.args(["metrics", target, format]);
    let output = run_with_deadline(command, DEADLINE);
    assert!(output.status.success(), "{}", both(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_refused_start_leaves_no_trace_and_is_said_once() {
    let _turn = turn();
    let done = Done::new();
    let trace = done.trace();
    let changed = ["--set", "optimizer.beta1=0.8", "--set", "train.max_steps=20", "--set", "checkpoint.keep_last=1"];
    for command in [by_launcher(2, &done.config), by_mpirun(2, &done.config)] {
        let text = run(with(command, &changed), ExitCode::Config, &["optimizer.beta1 was 0.9 and is now 0.8"]);
        assert_eq!(text.matches("cannot be resumed with this config").count(), 1, "{text}");
        assert!(!text.contains("attempt 2"), "{text}");
    }
    assert_eq!(done.trace(), trace);
}

/// The learning rate destroys the model after step 10. That step is saved, and earlier checkpoints stay although `keep_last`
/// is reached.
#[test]
fn nothing_is_saved_while_updates_are_skipped_and_what_is_older_stays() {
    let _turn = turn();
    let done = Done::new();
    let saves = ["train.max_steps=40", "checkpoint.every_steps=1", "checkpoint.keep_last=2"].map(|set| ["--set", set]);
    let rate = ["--accept-change", "optimizer.peak_learning_rate", "--set", "optimizer.peak_learning_rate=1e30"];
    let words = ["the save waits until updates are made again", "10 updates in a row", "launcher train --from STEP"];
    let diverging = with(with(by_launcher(2, &done.config), saves.as_flattened()), &rate);
    run(diverging, ExitCode::Numeric, &words);
    let counting = done.counting();
    // The save of step 10 may have been in progress at the end.
    assert!(
        counting.starts_with(&[(3, 1), (6, 1), (9, 1)]) && counting.iter().all(|(step, _)| *step <= 10),
        "{counting:?}"
    );
    let back = ["--from", "9", "--set", "train.max_steps=12"];
    run(with(by_launcher(2, &done.config), &back), ExitCode::Done, &["resumed from step-00000009", "step     12/12"]);
}

/// Older versions saved such checkpoints.
#[test]
fn a_checkpoint_of_skipped_updates_is_gone_on_from_only_by_name() {
    let _turn = turn();
    let done = Done::new();
    let folder = done.scratch.folder("run");
    let newest = checkpoint_store::newest(&folder).unwrap().unwrap();
    let manifest = checkpoint_store::read_manifest(&folder, &newest).unwrap();
    let skipping = Manifest { skipped_in_a_row: 3, ..manifest };
    checkpoint_store::folder_of(&folder, &newest).put(MANIFEST_NAME, skipping.to_json()).unwrap();
    let longer = ["--set", "train.max_steps=10"];
    let words = ["was saved when 3 updates had just been skipped", "resumed from step-00000006"];
    run(with(by_mpirun(2, &done.config), &longer), ExitCode::Done, &words);
    let name = newest.to_string();
    let words = [&*format!("went back to {name}"), &*format!("resumed from {name}")];
    run(with(with(by_launcher(2, &done.config), &longer), &["--from", &name]), ExitCode::Done, &words);
}
