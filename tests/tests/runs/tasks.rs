//! Evaluation tasks in the middle of training: what they say is what `launcher eval` says of the checkpoint of that step, and
//! training is what it is without them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use common::exit_code::ExitCode;
use serde_json::{Value, json};
use tests::process::{both, launcher, run_with_deadline};
use tests::scratch::{Scratch, losses};
use tests::training::{DEADLINE, by_launcher, by_mpirun, run, turn};

/// Small files in the official format of every task, written for tests.
const SMALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../common/evaluation/tests/small");

/// Items of each task.
const ITEMS: &str = "4";

/// A run of four steps with a checkpoint after the second and the fourth, of a model whose context holds the items.
const SETTINGS: [&str; 7] = [
    "model.context_tokens=512",
    "model.width=64",
    "train.max_steps=4",
    "optimizer.warmup_steps=1",
    "evaluation.every_steps=0",
    "checkpoint.every_steps=2",
    "checkpoint.keep_last=0",
];

const TASKS: [&str; 3] = ["hellaswag_harness", "lambada_harness", "ptb"];

/// Returns the settings that evaluate by all tasks after the second and the fourth step.
fn with_tasks() -> Vec<String> {
    let of = |key: &str, value: &str| format!("evaluation.{key}={value}");
    vec![of("tasks", &TASKS.join(",")), of("tasks_every_steps", "2"), of("tasks_items", ITEMS), of("tasks_data", SMALL)]
}

fn config(scratch: &Scratch, name: &str, more: &[String]) -> std::path::PathBuf {
    let settings: Vec<&str> = SETTINGS.into_iter().chain(more.iter().map(String::as_str)).collect();
    scratch.config(name, &settings)
}

/// Returns what a command of the launcher prints as JSON.
fn printed(args: &[&str]) -> Value {
    let mut command = Command::new(launcher());
    command.args(args).env_remove("RUST_LOG");
    let ended = run_with_deadline(command, DEADLINE);
    assert!(ended.status.success(), "{}", both(&ended));
    serde_json::from_slice(&ended.stdout).unwrap()
}

/// Returns the tasks' results by step, as `launcher metrics` has them.
fn results(scratch: &Scratch, name: &str) -> BTreeMap<u64, Value> {
    let rows = printed(&["metrics", &scratch.url(name), "--json"]);
    let rows = rows.as_array().unwrap().iter().filter(|row| !row["tasks"].is_null());
    rows.map(|row| (row["step"].as_u64().unwrap(), row["tasks"].clone())).collect()
}

/// Returns what `launcher eval` says of the checkpoint after `step`, in the form of the metrics.
fn of_checkpoint(scratch: &Scratch, name: &str, config: &Path, step: u64) -> Value {
    let checkpoints = std::fs::read_dir(scratch.path().join(name).join("checkpoints")).unwrap();
    let is_of_step = |name: &str| name.starts_with(&format!("step-{step:08}-"));
    let mut found = checkpoints.map(Result::unwrap).filter(|e| is_of_step(&e.file_name().to_string_lossy()));
    let url = found.next().expect("the checkpoint is there").path().display().to_string();
    let (tasks, config, output) = (TASKS.join(","), config.display().to_string(), scratch.url("evaluations"));
    let all = printed(&[
        "eval",
        "--config",
        &config,
        "--checkpoint",
        &url,
        "--tasks",
        &tasks,
        "--data",
        SMALL,
        "--limit",
        ITEMS,
        "--json",
        "--output",
        &output,
    ]);
    let entries = all.as_array().unwrap().iter().map(|entry| {
        let results = &entry["report"]["results"];
        let main = &results["metrics"][0];
        let result = json!({
            "metric": main["name"], "value": main["value"], "standard_error": main["standard_error"], "items": results["items"],
        });
        (results["task"].as_str().unwrap().to_owned(), result)
    });
    entries.collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn tasks_in_training_say_what_eval_says_of_the_checkpoint_and_change_no_loss() {
    let _turn = turn();
    let scratch = Scratch::with_few_tokens();
    for (ranks, zero) in [(1, 0), (2, 0), (2, 1)] {
        let (plain, name) = (format!("plain-{ranks}-{zero}"), format!("tasks-{ranks}-{zero}"));
        let zero = [format!("parallel.zero={zero}")];
        run(by_launcher(ranks, &config(&scratch, &plain, &zero)), ExitCode::Done, &[]);
        let config = config(&scratch, &name, &[&zero[..], &with_tasks()[..]].concat());
        let words = ["step 2: hellaswag_harness acc_norm ", "step 4: hellaswag_harness acc_norm ", "(4 items)  ptb"];
        run(by_launcher(ranks, &config), ExitCode::Done, &words);
        assert_eq!(losses(&scratch.url(&name)), losses(&scratch.url(&plain)), "{name}");
        let results = results(&scratch, &name);
        assert!(results.keys().copied().eq([2, 4]), "{name}: {results:?}");
        for (step, result) in &results {
            assert_eq!(result.as_object().unwrap().len(), TASKS.len(), "{name}, step {step}: {result}");
            assert_eq!(*result, of_checkpoint(&scratch, &name, &config, *step), "{name}, step {step}");
        }
        let events = scratch.events(&name);
        let of_tasks = events.iter().filter(|event| event["kind"] == "tasks");
        let texts: Vec<_> = of_tasks.map(|event| event["text"].as_str().unwrap()).collect();
        assert!(texts.len() == 2 && texts.iter().all(|text| text.ends_with(" s")), "{texts:?}");
    }
}

#[test]
fn a_run_that_goes_on_evaluates_by_the_tasks_after_the_steps_that_are_left() {
    let _turn = turn();
    let scratch = Scratch::with_few_tokens();
    let more = [with_tasks(), vec!["optimizer.decay_steps=6".to_owned()]].concat();
    let first = config(&scratch, "run", &[&more[..], &["train.max_steps=3".to_owned()]].concat());
    run(by_launcher(2, &first), ExitCode::Done, &["done: 3 steps"]);
    let before = results(&scratch, "run");
    assert!(before.keys().copied().eq([2, 3]), "{before:?}");
    let longer = config(&scratch, "run", &[&more[..], &["train.max_steps=6".to_owned()]].concat());
    run(by_launcher(2, &longer), ExitCode::Done, &["resumed from step-00000003", "done: 6 steps"]);
    let after = results(&scratch, "run");
    assert!(after.keys().copied().eq([2, 3, 4, 6]), "{after:?}");
    assert!(before.iter().all(|(step, result)| after[step] == *result), "{before:?}, then {after:?}");
}

#[test]
fn what_cannot_be_scored_is_refused_before_the_first_step() {
    let _turn = turn();
    let scratch = Scratch::with_few_tokens();
    let empty = scratch.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let misspelt = "evaluation.tasks: there is no task \"hellaswagg_harness\"; did you mean hellaswag_harness?";
    let no_folder = "evaluation.tasks_data is missing: the folder with ptb.test.txt";
    let empty = format!("evaluation.tasks_data={}", empty.display());
    let cases: [(&str, &[&str], ExitCode, &str); 3] = [
        ("misspelt", &["evaluation.tasks=hellaswagg_harness"], ExitCode::Config, misspelt),
        ("no-folder", &["evaluation.tasks=ptb"], ExitCode::Config, no_folder),
        ("no-file", &["evaluation.tasks=ptb", &empty], ExitCode::Data, "ptb.test.txt, which does not exist"),
    ];
    for (name, settings, code, words) in cases {
        let path = scratch.config(name, settings);
        for command in [by_launcher(2, &path), by_mpirun(2, &path)] {
            run(command, code, &[words]);
            assert!(losses(&scratch.url(name)).is_empty(), "{name}: no step was made");
        }
    }
    let mut check = Command::new(launcher());
    check.args(["check", "--config"]).arg(scratch.path().join("misspelt.toml"));
    let checked = run_with_deadline(check, DEADLINE);
    assert!(!checked.status.success() && both(&checked).contains(misspelt), "{}", both(&checked));
}
