//! The overlap of test sets with training data: the table does not depend on the form of the data, or on the ranks that
//! read them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use common::exit_code::ExitCode;
use serde_json::{Value, json};
use tests::process::{both, launcher, run_with_deadline};
use tests::scratch::Scratch;
use tests::training::{DEADLINE, by_launcher, run, turn};

/// Documents of the training data: more than a mebibyte, so that ranks share them.
const DOCUMENTS: usize = 6_000;
/// Words of a document or an item, all of which differ from those of others.
const WORDS: usize = 40;

/// Training data in a folder, with its tokenizer.
struct Corpus {
    scratch: Scratch,
}

/// Returns word `word` of document `document`.
fn word(document: usize, word: usize) -> String {
    format!("crow{document}x{word}")
}

fn document(number: usize) -> String {
    let words: Vec<String> = (0..WORDS).map(|at| word(number, at)).collect();
    format!("{}.", words.join(" "))
}

fn json_lines(texts: &[String]) -> String {
    texts.iter().map(|text| format!("{}\n", json!({ "text": text }))).collect()
}

impl Corpus {
    fn new() -> Self {
        let corpus = Corpus { scratch: Scratch::with_few_tokens() };
        corpus.write("documents.jsonl", &(0..DOCUMENTS).map(document).collect::<Vec<_>>());
        // What is copied has another case and other punctuation.
        let copied = format!("\"{}\"", document(7).to_uppercase().replace(' ', ", "));
        corpus.write("copied.jsonl", &[copied, document(5_990)]);
        corpus.write("foreign.jsonl", &[document(DOCUMENTS + 1), document(DOCUMENTS + 2), "too short".to_owned()]);
        // Four words at the end of a document and four of the next one.
        let across: Vec<String> =
            (WORDS - 4..WORDS).map(|at| word(8, at)).chain((0..4).map(|at| word(9, at))).collect();
        // Of 41 words, 8 belong to a document: 1 of 34 grams.
        let half: Vec<String> = (0..8).map(|at| word(3, at)).chain((0..33).map(|at| word(7_777, at))).collect();
        corpus.write("mixed.jsonl", &[across.join(" "), half.join(" "), document(DOCUMENTS + 3)]);
        corpus
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn write(&self, name: &str, texts: &[String]) {
        std::fs::write(self.path(name), json_lines(texts)).unwrap();
    }

    /// Returns the words of `documents=` for test sets of these names.
    fn tasks(&self, names: &[&str]) -> String {
        names.iter().map(|name| format!("documents={}", self.path(name).display())).collect::<Vec<_>>().join(",")
    }

    /// Returns `launcher eval` of the overlap with `training`, without a run.
    fn eval(&self, training: &str, more: &[&str]) -> Command {
        self.eval_of(&["copied.jsonl", "foreign.jsonl", "mixed.jsonl"], training, more)
    }

    fn eval_of(&self, sets: &[&str], training: &str, more: &[&str]) -> Command {
        let mut command = Command::new(launcher());
        command.args(["eval", "--overlap"]).arg(self.path(training)).env_remove("RUST_LOG");
        command.args(["--tasks", &self.tasks(sets)]);
        command.arg("--set").arg(format!("data.tokenizer={}", self.path("tokenizer").display())).args(more);
        command
    }

    /// Returns the rows of the table, without the name of the training data.
    fn table(&self, training: &str, more: &[&str]) -> Vec<Value> {
        let mut rows = printed(self.eval(training, &[&["--json"][..], more].concat()));
        for row in &mut rows {
            let with = row["overlap"].as_object_mut().unwrap().remove("with").unwrap();
            assert!(with.as_str().unwrap().ends_with(training), "{with}");
        }
        rows
    }

    /// Returns the command that makes token shards of the documents in `output`, on the boundaries of which documents do not
    /// begin.
    fn prepare(&self, output: &str, ranks: &str, more: &[&str]) -> Command {
        let config = self.path("prepare.toml");
        let text = format!(
            "[prepare]\ninputs = [{:?}]\noutput = {:?}\ntokenizer = {:?}\ntokens_per_shard = 50_001\nvalidation_fraction = 0.0\n",
            self.path("documents.jsonl"),
            self.path(output),
            self.path("tokenizer")
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(launcher());
        command.args(["prepare", "--ranks", ranks, "--config"]).arg(config).args(more).env_remove("RUST_LOG");
        command
    }

    /// Returns all files that were prepared in `output`, by name.
    fn prepared(&self, output: &str) -> BTreeMap<String, Vec<u8>> {
        let files = |folder: PathBuf| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let all = files(self.path(output)).chain(files(self.path(output).join("train"))).filter(|path| path.is_file());
        all.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
            .collect()
    }
}

/// Runs `command` to its end, and returns the entries of the JSON that it prints.
fn printed(command: Command) -> Vec<Value> {
    let ended = run_with_deadline(command, DEADLINE);
    assert!(ended.status.success(), "{}", both(&ended));
    serde_json::from_slice(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", both(&ended)))
}

#[test]
fn copied_items_are_found_and_foreign_ones_are_not_in_documents_shards_and_filters_on_any_ranks() {
    let _turn = turn();
    let corpus = Corpus::new();
    let table = corpus.table("documents.jsonl", &[]);
    let [copied, foreign, mixed] = [0_usize, 1, 2].map(|row| &table[row]["overlap"]);
    let numbers = |row: &Value| ["grams", "found", "items", "overlapping", "without_grams"].map(|key| row[key].clone());
    let per_document = WORDS as u64 - 7;
    let all = 2 * per_document;
    assert_eq!(numbers(copied), [all, all, 2, 2, 0].map(Value::from), "{copied}");
    assert_eq!(copied["share"], json!(1.0));
    assert_eq!(numbers(foreign), [all, 0, 3, 0, 1].map(Value::from), "{foreign}");
    assert_eq!((&foreign["share"], &foreign["largest"]), (&json!(0.0), &Value::Null));
    assert_eq!(numbers(mixed), [1 + 34 + per_document, 1, 3, 1, 0].map(Value::from), "{mixed}");
    assert_eq!(mixed["largest"], json!({ "id": "2", "grams": 34, "found": 1 }));
    assert_eq!(corpus.table("documents.jsonl", &["--ranks", "2"]), table, "documents on two ranks");

    let seen = corpus.path("seen");
    run(corpus.prepare("prepared", "1", &[]), ExitCode::Done, &[]);
    for ranks in ["1", "2"] {
        let save = ["--ranks", ranks, "--save-filter", seen.to_str().unwrap()];
        assert_eq!(corpus.table("prepared/train", &save), table, "shards on {ranks} ranks");
        assert_eq!(corpus.table("seen", &["--ranks", ranks]), table, "the filter of {ranks} ranks");
    }
    let words = ["100.00 %", "2.94 % of item 2", "1 item of fewer than 8 words", "overlap with"];
    run(corpus.eval("seen", &[]), ExitCode::Done, &words);
    run(corpus.eval("seen", &["--markdown"]), ExitCode::Done, &["| documents | 66 | 66 | 100.00 % | 2 | 2 |"]);
}

#[test]
fn results_without_overlap_are_those_of_the_other_items_alone() {
    let _turn = turn();
    let corpus = Corpus::new();
    let settings = [
        "model.context_tokens=512",
        "train.max_steps=3",
        "optimizer.warmup_steps=0",
        "evaluation.every_steps=0",
        "model.width=64",
    ];
    let config = corpus.scratch.config("run", &settings);
    run(by_launcher(1, &config), ExitCode::Done, &[]);
    let few: Vec<String> = (0..20).map(document).collect();
    corpus.write("few.jsonl", &few);
    corpus.write("all.jsonl", &[document(2), document(301), document(17), document(302)]);
    corpus.write("free.jsonl", &[document(301), document(302)]);
    let eval = |tasks: &str, more: &[&str]| {
        let mut command = Command::new(launcher());
        command.args(["eval", "--tasks", &corpus.tasks(&[tasks]), "--config"]).arg(&config).args(more);
        command.env_remove("RUST_LOG");
        command
    };
    let overlap = ["--overlap", corpus.path("few.jsonl").to_str().unwrap()].map(str::to_owned);
    let overlap = [overlap[0].as_str(), overlap[1].as_str()];
    let json =
        |tasks: &str, more: &[&str]| printed(eval(tasks, &[&["--json"][..], more].concat()))[0]["report"].clone();
    let (with, free) = (json("all.jsonl", &overlap), json("free.jsonl", &[]));
    let without = &with["without_overlap"];
    assert_eq!((&without["overlap"]["overlapping"], &without["results"]["items"]), (&json!(2), &json!(2)));
    // But for the last digits: the items have other neighbours in their passes.
    let values = |results: &Value| -> Vec<(String, f64)> {
        let metrics = results["metrics"].as_array().unwrap().iter();
        metrics.map(|metric| (metric["name"].to_string(), metric["value"].as_f64().unwrap())).collect()
    };
    let (others, alone) = (values(&without["results"]), values(&free["results"]));
    let is_close =
        |((one, x), (other, y)): (&(String, f64), &(String, f64))| one == other && (x / y - 1.0).abs() < 1e-5;
    assert!(others.len() == alone.len() && others.iter().zip(&alone).all(is_close), "{others:?}, expected {alone:?}");
    assert_ne!(with["results"]["metrics"], free["results"]["metrics"]);
    assert_eq!(free.get("without_overlap"), None);
    assert_eq!(json("all.jsonl", &[])["results"], with["results"], "all items count as before");
    run(eval("all.jsonl", &overlap), ExitCode::Done, &["without overlap", "largest overlap", "std. error"]);
    // What was found in other training data stands beside it, and all have the results without overlap, too.
    let reports = || {
        let folder = corpus.scratch.folder("run").folder("evaluations");
        let names = folder.list().unwrap().into_iter().map(|object| object.name);
        names.filter(|name| name.contains("results")).collect::<Vec<_>>()
    };
    let before = reports();
    let other = ["--overlap", corpus.path("documents.jsonl").to_str().unwrap()].map(str::to_owned);
    let others = json("all.jsonl", &[other[0].as_str(), other[1].as_str()]);
    assert_ne!(others["without_overlap"]["overlap"]["filter_sha256"], without["overlap"]["filter_sha256"]);
    let after = reports();
    assert!(before.iter().all(|name| after.contains(name)) && after.len() == before.len() + 1, "{before:?} {after:?}");
    // Of a run, too, the overlap can be had alone.
    let alone = printed(eval("all.jsonl", &[&["--json", "--overlap-only"][..], &overlap].concat()));
    assert_eq!(alone[0]["overlap"], without["overlap"]);
}

/// A filter of test sets, used by prepare: what will be tested is not trained on.
#[test]
fn documents_that_are_in_a_saved_filter_are_left_out_by_prepare_on_any_ranks_and_no_others() {
    let _turn = turn();
    let corpus = Corpus::new();
    let (filter, share) = (corpus.path("tests.grams"), "--set=prepare.overlap_share=0.9");
    // Of the documents, numbers 7 and 5,990 are in this test set, number 7 in another spelling.
    let save = ["--overlap-only", "--save-filter", filter.to_str().unwrap()];
    run(corpus.eval("copied.jsonl", &save), ExitCode::Done, &["100.00 %"]);
    let set = format!("--set=prepare.overlap_filter={}", filter.display());
    for (output, ranks) in [("one", "1"), ("two", "2")] {
        let expected = ["5,998 documents", "left out    2 documents: overlapping with prepare.overlap_filter"];
        run(corpus.prepare(output, ranks, &[&set, share]), ExitCode::Done, &expected);
    }
    let one = corpus.prepared("one");
    assert!(one.len() > 4 && one == corpus.prepared("two"), "{:?}", one.keys());
    let found = &printed(corpus.eval_of(&["documents.jsonl"], "one/train", &["--json"]))[0]["overlap"];
    assert_eq!((&found["items"], &found["overlapping"]), (&json!(DOCUMENTS), &json!(DOCUMENTS - 2)), "{found}");
    // What identifies the filter in the record is what evaluation says of it.
    let record: Value = serde_json::from_slice(&one["prepare.json"]).unwrap();
    assert_eq!(
        record["overlap_filter_sha256"],
        printed(corpus.eval("tests.grams", &["--json"]))[0]["overlap"]["filter_sha256"]
    );
    // Two ranks refuse a damaged filter before they write.
    let mut damaged = std::fs::read(&filter).unwrap();
    damaged[100] ^= 2;
    std::fs::write(&filter, damaged).unwrap();
    run(corpus.prepare("three", "2", &[&set, share]), ExitCode::Data, &["tests.grams: the overlap filter is damaged"]);
    assert!(!corpus.path("three").exists());
}

#[test]
fn what_is_no_training_data_is_refused_with_what_to_do() {
    let _turn = turn();
    let corpus = Corpus::new();
    let path = corpus.path("others");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("a.csv"), "a").unwrap();
    run(corpus.eval("others", &[]), ExitCode::Data, &["others is neither token shards", "--save-filter has written"]);
    let seen = corpus.path("seen");
    corpus.write("few.jsonl", &[document(1)]);
    run(corpus.eval("few.jsonl", &["--save-filter", seen.to_str().unwrap()]), ExitCode::Done, &[]);
    let whole = std::fs::read(&seen).unwrap();
    for (at, words) in [(8, "version 3: expected 1"), (12, "words of a gram 10: expected 8"), (100, "damaged")] {
        let mut changed = whole.clone();
        changed[at] ^= 2;
        std::fs::write(&seen, changed).unwrap();
        run(corpus.eval("seen", &[]), ExitCode::Data, &[words, "make the filter anew"]);
    }
    std::fs::write(corpus.path("bad.jsonl"), "{\"text\": \"a\"}\n{\"txt\": \"b\"}\n").unwrap();
    run(corpus.eval("bad.jsonl", &[]), ExitCode::Data, &["bad.jsonl, line 2: "]);
    let other = ["--set", "data.tokenizer=gpt2"];
    run(corpus.eval("train", &other), ExitCode::Data, &["tokenizer"]);
    let samples = ["--samples", "items.jsonl"];
    run(corpus.eval("few.jsonl", &samples), ExitCode::Config, &["--samples needs scores"]);
}
