//! The scores of a checkpoint are those of other programs, item by item.
//!
//! `scripts/golden/odd_model.py` writes the checkpoint: a small model of odd shape, whose weights are drawn from a seed.
//! `scripts/golden/scores.py` made the golden file: what lm-evaluation-harness says of that model, and transformers where the
//! harness has no such task.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tests::process::{both, launcher, run_with_deadline};
use tests::training::{DEADLINE, turn};

/// Small files in the official format of every task, written for tests.
const SMALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../common/evaluation/tests/small");
const ODD_MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/golden/odd_model.py");

/// Runs `command` to its end and returns what it prints.
fn printed(command: Command) -> String {
    let ended = run_with_deadline(command, DEADLINE);
    assert!(ended.status.success(), "{}", both(&ended));
    String::from_utf8(ended.stdout).unwrap()
}

/// Copies the small files to `folder`, with `passages` at the end of LAMBADA's.
fn write_data(folder: &Path, passages: &Value) {
    std::fs::create_dir(folder).unwrap();
    for file in std::fs::read_dir(SMALL).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let path = folder.join("lambada_test.jsonl");
    let mut lines = std::fs::read_to_string(&path).unwrap();
    for passage in passages.as_array().unwrap() {
        lines.push_str(&json!({ "text": passage }).to_string());
        lines.push('\n');
    }
    std::fs::write(path, lines).unwrap();
}

/// Evaluates the checkpoint `odd` of `folder` by all tasks. Returns the results of each task, and every item with its scores.
fn evaluate(folder: &Path) -> (Vec<Value>, Vec<Value>) {
    let path = |name: &str| folder.join(name).display().to_string();
    let tasks = format!("all,text={0}/text,documents={0}/documents", path("data"));
    let mut command = Command::new(launcher());
    command.args(["eval", "--checkpoint", &path("odd"), "--data", &path("data"), "--tasks", &tasks, "--json"]);
    command.args(["--output", &path("evaluations"), "--samples", &path("samples.jsonl")]);
    command.args(["--ranks", "1", "--threads-per-rank", "1"]).env_remove("RUST_LOG");
    let printed: Value = serde_json::from_str(&printed(command)).unwrap();
    let results = printed.as_array().unwrap().iter().map(|entry| entry["report"]["results"].clone());
    let samples = std::fs::read_to_string(folder.join("samples.jsonl")).unwrap();
    (results.collect(), samples.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// Compares the requests of each item: log-likelihoods within 1e-4, or 1e-6 of the sum where that is larger.
fn check_items(task: &str, samples: &[&Value], expected: &Value) {
    let items = expected.as_array().unwrap();
    assert_eq!(samples.len(), items.len(), "{task}");
    for (sample, scores) in samples.iter().zip(items) {
        let (requests, scores) = (sample["requests"].as_array().unwrap(), scores.as_array().unwrap());
        assert_eq!(requests.len(), scores.len(), "{task}: {sample}");
        for (request, score) in requests.iter().zip(scores) {
            let (ours, theirs) = (request["log_likelihood"].as_f64().unwrap(), score[0].as_f64().unwrap());
            let tolerance = 1e-4_f64.max(1e-6 * theirs.abs());
            assert!((ours - theirs).abs() <= tolerance, "{task}: {request}, expected {theirs}");
            assert!(score[1].is_null() || score[1] == request["is_greedy"], "{task}: {request}, expected {score}");
        }
    }
}

/// Compares accuracies, which are equal, and perplexities.
fn check_results(task: &str, results: &Value, expected: &Value) {
    let metrics = results["metrics"].as_array().unwrap();
    for (name, theirs) in expected.as_object().unwrap() {
        let is_it = |metric: &&Value| metric["name"].as_str().unwrap().split('/').next() == Some(name.as_str());
        let found = metrics.iter().find(is_it).unwrap_or_else(|| panic!("{task} has no {name}: {results}"));
        let (ours, theirs) = (found["value"].as_f64().unwrap(), theirs.as_f64().unwrap());
        let tolerance = if name.starts_with("acc") { 1e-12 } else { 1e-4 };
        assert!((ours - theirs).abs() <= tolerance * theirs, "{task}: {name} is {ours}, expected {theirs}");
    }
}

#[test]
fn items_have_the_scores_of_other_programs_by_every_task() {
    let _turn = turn();
    let golden: Value = serde_json::from_str(include_str!("../../golden/scores.json")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut odd_model = Command::new("python3");
    odd_model.arg(ODD_MODEL).arg(folder.path().join("odd"));
    let sha256 = printed(odd_model);
    assert_eq!(Some(sha256.trim()), golden["model_sha256"].as_str(), "the weights are those of the golden file");
    write_data(&folder.path().join("data"), &golden["added_passages"]);
    let (results, samples) = evaluate(folder.path());
    let tasks = golden["tasks"].as_object().unwrap();
    assert_eq!(results.len(), tasks.len(), "every task has golden scores: {results:?}");
    for results in &results {
        let task = results["task"].as_str().unwrap();
        let expected = tasks.get(task).unwrap_or_else(|| panic!("{task} has no golden scores"));
        let items: Vec<&Value> = samples.iter().filter(|sample| sample["task"] == task).collect();
        check_items(task, &items, &expected["scores"]);
        check_results(task, results, &expected["results"]);
    }
}
