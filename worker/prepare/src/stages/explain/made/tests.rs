//! Tests of what explanations are looked for in.

use bytes::Bytes;
use common::config::{PrepareJobConfig, RawConfig};
use common::exit_code::ExitCode;

use super::*;
use crate::job;
use crate::ranks::Ranks;
use crate::stages::explain::{Ending, Explained, Wanted, explain};
use crate::stages::lineage::line::id_in_words;
use crate::stages::lineage::tests::{folder, line, written};
use crate::stages::lineage::units::lineage_name;
use crate::stages::lineage::{Line, Verdict};

/// Returns a config of these stages that keeps documents of at least this number of words.
fn config(name: &str, inputs: &[&str], stages: &[&str], min_words: usize) -> PrepareJobConfig {
    let inputs: Vec<String> = inputs.iter().map(|input| format!("memory://lineage-{name}/{input}")).collect();
    let text = format!(
        "[prepare]\ninputs = {inputs:?}\noutput = \"memory://lineage-{name}/out\"\nstages = {stages:?}\n\
         validation_fraction = 0.0\n[webtext]\n\
         clean = {{ set = \"paper\", length = {{ min_words = {min_words} }}, language = {{ kept = [] }} }}\n"
    );
    RawConfig::parse("of the test", &text, &[]).unwrap().prepare().unwrap()
}

fn run(config: &PrepareJobConfig) {
    let options = StageOptions::read(&config.prepare, &config.webtext).unwrap();
    job::run(&config.prepare, &options, &config.storage, &Ranks::One, 1, &mut ()).unwrap();
}

fn told(config: &PrepareJobConfig, words: &str) -> Result<Explained, PrepareError> {
    let output = Folder::open(&config.prepare.output, &config.storage)?;
    let options = StageOptions::read(&config.prepare, &config.webtext)?;
    explain(&Wanted::parse(words)?, &Made::find((&config.prepare, &options), &config.storage, &output)?)
}

fn document(number: usize) -> Bytes {
    let text = "one two three four five six seven";
    format!("{{\"text\": \"{text}\", \"url\": \"http://a.example/{number}\"}}\n").into()
}

#[test]
fn where_an_input_was_added_or_rules_have_changed_the_newest_lineage_is_told() {
    let (name, stages) = ("made-changed", ["clean"]);
    let root = folder(name);
    root.put("in/a.jsonl", document(1)).unwrap();
    root.put("more/b.jsonl", document(2)).unwrap();
    run(&config(name, &["in"], &stages, 5));
    let told_by = |inputs: &[&str], min_words: usize| told(&config(name, inputs, &stages, min_words), "a.example/1");
    let before = told_by(&["in"], 5).unwrap();
    assert_eq!((before.note.clone(), before.documents[0].ending), (None, Ending::InShards));
    assert!(!before.to_string().contains("\nnote "), "{before}");
    for after in [told_by(&["in", "more"], 5).unwrap(), told_by(&["in"], 6).unwrap()] {
        assert_eq!(after.documents, before.documents);
        let text = after.to_string();
        let expected =
            "\nnote        the config or its inputs have changed since; this is the newest lineage of clean\n";
        assert!(text.contains(expected), "{text}");
    }
    let error = told(&config(name, &["in", "more"], &stages, 5), "a.example/2").unwrap_err();
    assert!(error.to_string().contains("1 lineage files were searched"), "{error}");
    root.folder("in").delete_all().unwrap();
    let gone = told_by(&["in"], 5).unwrap();
    assert_eq!(gone.documents, before.documents);
    assert!(gone.note.as_ref().is_some_and(|note| note.contains("the inputs are gone")), "{gone}");
}

#[test]
fn a_store_that_does_not_say_what_the_inputs_are_is_an_error() {
    let (name, stages) = ("made-refused", ["clean"]);
    folder(name).put("in/a.jsonl", document(1)).unwrap();
    run(&config(name, &["in"], &stages, 5));
    let error = told(&config(name, &["in", "in/x[2.jsonl"], &stages, 5), "a.example/1").unwrap_err();
    assert!(error.to_string().contains("x[2.jsonl: no pattern, and there is nothing of this name"), "{error}");
    assert_eq!(error.exit_code(), ExitCode::Config);
}

#[test]
fn a_document_that_the_last_stage_has_not_seen_is_not_kept_by_all_where_the_inputs_are_gone() {
    let name = "made-part";
    let output = folder(name).folder("out");
    let first = Line { verdict: Verdict::Kept, ..line(1) };
    let id = id_in_words(first.id);
    output.put(&format!("stages/extract-0123456789abcdef/{}", lineage_name(0)), written([first]).into()).unwrap();
    let told = told(&config(name, &["in"], &["extract", "clean"], 5), &id).unwrap();
    assert_eq!(told.documents[0].ending, Ending::NotSeenYet);
    assert!(told.note.as_ref().is_some_and(|note| note.ends_with("the newest lineage of extract")), "{told}");
}

#[test]
fn the_longest_document_is_that_of_the_shards_that_are_made() {
    let name = "made-longest";
    folder(name).put("in/a.jsonl", document(1)).unwrap();
    let mut config = config(name, &["in"], &["clean"], 5);
    let longest = |config: &PrepareJobConfig| {
        let output = Folder::open(&config.prepare.output, &config.storage).unwrap();
        let options = StageOptions::read(&config.prepare, &config.webtext).unwrap();
        Made::find((&config.prepare, &options), &config.storage, &output).unwrap().document_bytes_max
    };
    config.prepare.max_document_bytes = 5000;
    assert_eq!(longest(&config), 5000);
    run(&config);
    config.prepare.max_document_bytes = 9000;
    assert_eq!(longest(&config), 5000);
}
