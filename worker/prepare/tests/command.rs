//! Tests of the command as a person types it: output and exit codes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

/// Runs `prepare` in `dir` on a config there that reads `in/` and writes `out/`.
fn prepare(dir: &Path, arguments: &[&str]) -> Output {
    std::fs::write(dir.join("prepare.toml"), "[prepare]\ninputs = [\"in\"]\noutput = \"out\"\n").unwrap();
    Command::new(env!("CARGO_BIN_EXE_prepare"))
        .current_dir(dir)
        .args(["shards", "--config", "prepare.toml"])
        .args(arguments)
        .output()
        .unwrap()
}

/// Runs `prepare`, and checks the exit code and that standard error contains `expected`.
fn fails(dir: &Path, arguments: &[&str], code: i32, expected: &str) {
    let output = prepare(dir, arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(message.contains(expected), "{message}");
    assert!(output.stdout.is_empty());
}

#[test]
fn the_summary_is_text_or_json_and_a_second_run_is_done() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    std::fs::write(dir.path().join("in/a.jsonl"), "{\"text\": \"one two\"}\n{\"text\": \"three\"}\n").unwrap();
    let first = prepare(dir.path(), &["--json"]);
    assert_eq!(first.status.code(), Some(0));
    let summary: serde_json::Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!((&summary["documents"], &summary["tokens"]), (&2.into(), &5.into()), "{summary}");
    assert_eq!(summary["already_done"], false);
    let second = prepare(dir.path(), &[]);
    assert_eq!(second.status.code(), Some(0));
    let text = String::from_utf8(second.stdout).unwrap();
    assert!(text.starts_with("prepared already"), "{text}");
    assert!(text.contains("2 documents, 5 tokens, 2.40 bytes per token"), "{text}");
}

#[test]
fn failures_have_their_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    fails(dir.path(), &["--wrong"], 2, "--wrong");
    fails(dir.path(), &["--set", "prepare.seeed=1"], 2, "prepare.seeed = 1: unknown key; did you mean seed?");
    fails(dir.path(), &["--set", "prepare.inputs=[\"ftp://host/in\"]"], 2, "unknown scheme ftp://");
    fails(dir.path(), &[], 3, "nothing to read");
    std::fs::write(dir.path().join("in/a.jsonl"), "nonsense\n").unwrap();
    fails(dir.path(), &[], 3, "in/a.jsonl, line 1: not JSON");
    // The output cannot be created: its parent is a file.
    std::fs::write(dir.path().join("in/a.jsonl"), "{\"text\": \"one\"}\n").unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    fails(dir.path(), &["--set", "prepare.output=file/out"], 6, "file/out");
}
