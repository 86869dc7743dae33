//! Requests and results equal those of lm-evaluation-harness 0.4.13, on small files in the official formats.
//!
//! `scripts/golden/evaluation.py` made the golden file with the harness's own task definitions. The scores in it are made up.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use evaluation::metrics::results;
use evaluation::tasks::{Task, find};
use evaluation::{DataFile, Encode, Item, Limits, OnLong, Request, Score, Scores, Sequences, encode_items};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    file: String,
    requests: Vec<Asked>,
    results: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Asked {
    item: usize,
    texts: Vec<String>,
    score: (f64, bool),
}

fn golden(task: &str) -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/evaluation.json");
    let mut all: BTreeMap<String, Golden> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    all.remove(task).unwrap()
}

fn items(task: &Task, file: &str) -> Vec<Item> {
    let content = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/small").join(file)).unwrap();
    (task.read)(&DataFile { name: file, content: &content }).unwrap()
}

/// Returns the texts of all requests as the harness hands them to a model, each with the index of its item.
fn asked(items: &[Item]) -> Vec<(usize, Vec<String>)> {
    let texts = |request: &Request| match request {
        Request::Continuation(request) => vec![request.context.clone(), request.continuation.clone()],
        Request::Text(text) => vec![text.clone()],
    };
    let of =
        |(index, item): (usize, &Item)| item.requests.iter().map(|request| (index, texts(request))).collect::<Vec<_>>();
    items.iter().enumerate().flat_map(of).collect()
}

/// A token for each byte.
struct Bytes;

impl Encode for Bytes {
    fn encode(&self, text: &str) -> Vec<u16> {
        text.bytes().map(u16::from).collect()
    }

    fn end_of_text(&self) -> u16 {
        256
    }
}

/// Gives each request its score: texts are one window.
fn scores(sequences: &Sequences, golden: &Golden) -> Scores {
    let mut scores = Scores::default();
    assert_eq!(sequences.sequences.len(), golden.requests.len());
    for (sequence, Asked { score: (log_likelihood, is_greedy), .. }) in sequences.sequences.iter().zip(&golden.requests)
    {
        let (tokens, log_likelihood, is_greedy) = (sequence.targets().len() as u32, *log_likelihood, *is_greedy);
        let score = Score { log_likelihood, tokens, is_greedy, is_greedy_with_stop_words_barred: is_greedy };
        scores.insert(sequence.key, score).unwrap();
    }
    scores
}

/// Compares requests and results of a task. `names` has our metrics and theirs.
fn check(task: &str, names: &[(&str, &str)]) {
    let golden = golden(task);
    let task = find(task).unwrap();
    let items = items(task, &golden.file);
    let theirs: Vec<(usize, Vec<String>)> =
        golden.requests.iter().map(|asked| (asked.item, asked.texts.clone())).collect();
    assert_eq!(asked(&items), theirs);
    let sequences = encode_items(&items, &Bytes, &Limits::of_model(100_000, OnLong::Refuse)).unwrap();
    let results = results(task, &items, &sequences, &scores(&sequences, &golden), |_| true).unwrap();
    for (ours, theirs) in names {
        let metric = results.metrics.iter().find(|metric| metric.name.split('/').next() == Some(ours)).unwrap();
        let expected = golden.results[*theirs];
        assert!(
            (metric.value - expected).abs() <= 1e-12 * expected.abs(),
            "{ours}: {} is not {expected}",
            metric.value
        );
        let Some(error) = golden.results.get(&format!("{theirs}_stderr")) else { continue };
        // Theirs of a perplexity is from 10,000 samples drawn again, without Bessel's correction; ours is a formula.
        let tolerance = if theirs.contains("perplexity") { 0.15 } else { 1e-12 };
        let ours = metric.standard_error.unwrap();
        assert!((ours - error).abs() <= tolerance * error, "{theirs}: {ours} is not {error}");
    }
}

#[test]
fn lambada_equals_the_harness() {
    check("lambada_harness", &[("acc", "acc"), ("last_word_perplexity", "perplexity")]);
}

#[test]
fn hellaswag_equals_the_harness() {
    check("hellaswag_harness", &[("acc", "acc"), ("acc_norm", "acc_norm")]);
}

#[test]
fn winograd_equals_the_harness() {
    check("wsc273_harness", &[("acc", "acc")]);
}

#[test]
fn wikitext_equals_the_harness() {
    let names = ["word_perplexity", "byte_perplexity", "bits_per_byte"];
    check("wikitext2_harness", &names.map(|name| (name, name)));
}
