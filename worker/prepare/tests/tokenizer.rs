//! Tests of `prepare tokenizer` as a person types it: files, messages and exit codes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use common::config::StorageConfig;
use common::tokenizer::Tokenizer;
use serde_json::Value;

const TEXTS: [&str; 3] = ["the cat sat on the mat", "the cats sat; the mats sat", "naïve <|pad|> naïve"];

fn tokenizer(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prepare"));
    command.current_dir(dir).arg("tokenizer").args(arguments).output().unwrap()
}

/// Runs `prepare tokenizer`, and expects success; returns the summary as JSON.
fn trained(dir: &Path, arguments: &[&str]) -> Value {
    let output = tokenizer(dir, &[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs `prepare tokenizer`, and expects an exit code and a message that contains `expected`.
fn fails(dir: &Path, arguments: &[&str], code: i32, expected: &str) {
    let output = tokenizer(dir, arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(message.contains(expected), "no {expected:?} in {message}");
}

fn json_lines(field: &str) -> String {
    TEXTS.iter().map(|text| serde_json::json!({ field: text }).to_string() + "\n").collect()
}

#[test]
fn every_kind_of_input_gives_the_same_tokenizer() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("texts")).unwrap();
    for (number, text) in TEXTS.iter().enumerate() {
        fs::write(path(&format!("texts/{number}.txt")), text).unwrap();
    }
    fs::write(path("a.jsonl"), json_lines("text")).unwrap();
    fs::write(path("b.jsonl.zst"), zstd::encode_all(json_lines("body").as_bytes(), 3).unwrap()).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(json_lines("text").as_bytes()).unwrap();
    fs::write(path("c.jsonl.gz"), gzip.finish().unwrap()).unwrap();
    let common = ["--vocab-size", "275", "--special", "<|pad|>"];
    let cases: [(&str, &[&str]); 5] = [
        ("1", &["texts"]),
        ("2", &["a.jsonl"]),
        ("3", &["b.jsonl.zst", "--text-field", "body"]),
        ("4", &["c.jsonl.gz", "--threads", "1"]),
        ("5", &["texts/[01].txt", "texts/2.*", "--special", "<|endoftext|>"]),
    ];
    let mut hashes = Vec::new();
    for (output, inputs) in cases {
        let summary = trained(dir.path(), &[&common, &["--output", output][..], inputs].concat());
        assert_eq!(
            (&summary["documents"], &summary["vocabulary"], &summary["dropped_words"]),
            (&3.into(), &275.into(), &0.into())
        );
        hashes.push(summary["hash"].clone());
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");

    let tokenizer = Tokenizer::open(&path("1").display().to_string(), &StorageConfig::default()).unwrap();
    assert_eq!(tokenizer.hash(), hashes[0]);
    assert_eq!(tokenizer.encode_with_special("<|endoftext|><|pad|>"), [0, 1]);
    assert_eq!(tokenizer.encode(" the").len(), 1);
    let names: Vec<_> =
        ["merges.txt", "tokenizer.json", "tokenizer_config.json", "vocab.json"].map(|name| path("1").join(name)).into();
    assert!(names.iter().all(|name| name.is_file()));
}

#[test]
fn what_was_learnt_is_said_and_a_tokenizer_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.jsonl"), json_lines("text")).unwrap();
    let train = ["--vocab-size", "5000", "--output", "out", "--most-words", "4", "a.jsonl"];
    let output = tokenizer(dir.path(), &train);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    for expected in [
        "3 documents, 69 bytes of text, ",
        "rare words that came up ",
        "fewer than 5000 tokens: the text has no more pairs to merge",
        " tokens: file:///",
        "\nhash ",
    ] {
        assert!(text.contains(expected), "no {expected:?} in {text}");
    }
    let before = fs::read(dir.path().join("out/tokenizer.json")).unwrap();
    fails(dir.path(), &train, 3, "out/tokenizer.json exists already, and shards may have been made with it");
    assert!(fs::read(dir.path().join("out/tokenizer.json")).unwrap() == before);
}

#[test]
fn faults_have_their_exit_codes_and_name_the_flags() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.jsonl"), json_lines("text") + "nonsense\n{\"text\": \"\"}\n").unwrap();
    let run = |more: &[&'static str]| [&["--vocab-size", "300", "--output", "out"], more].concat();
    fails(dir.path(), &run(&[]), 2, "<INPUT>");
    fails(dir.path(), &["--output", "out", "a.jsonl"], 2, "--vocab-size");
    fails(dir.path(), &run(&["a.jsonl", "--on-bad-document", "ask"]), 2, "possible values: fail, skip");
    fails(dir.path(), &["--vocab-size", "256", "--output", "out", "a.jsonl"], 2, "must have between 257");
    fails(dir.path(), &run(&["a.jsonl", "--special", "pad"]), 2, "\"pad\" is a word of ordinary text");
    fails(dir.path(), &run(&["a.jsonl"]), 3, "a.jsonl, line 4: not JSON");
    fails(dir.path(), &run(&["a.jsonl"]), 3, "mend it, or leave such documents out with --on-bad-document skip");
    fails(dir.path(), &run(&["nowhere"]), 3, "INPUT names nowhere, and in file:///");
    fails(dir.path(), &run(&["nowhere.txt"]), 3, "nowhere.txt does not exist");
    let skip = ["a.jsonl", "--on-bad-document", "skip"];
    fails(
        dir.path(),
        &run(&[&skip[..], &["--text-field", "body"]].concat()),
        3,
        "no text to learn from: 1 object gave 0 empty and 5",
    );
    assert!(!dir.path().join("out").exists());
    let summary = trained(dir.path(), &run(&skip));
    let counts = ["documents", "skipped_documents", "empty_documents"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!(counts, [3, 1, 1]);
}
