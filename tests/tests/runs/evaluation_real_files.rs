//! The real files of ../shared/corpora have the same scores on any number of ranks.
//!
//! `make test` scores the first 200 items of each task, and of whole texts the first lines. With `CONVOY_TEST_WHOLE_EVALUATION` set, as
//! in `make soak`, all items are scored, by a model of context 1,024 and GPT-2's tokenizer.

use std::path::{Path, PathBuf};
use std::process::Command;

use common::exit_code::ExitCode;
use serde_json::Value;
use tests::process::{both, launcher, run_with_deadline};
use tests::scratch::Scratch;
use tests::training::{DEADLINE, by_launcher, run, turn};

/// Files of the corpora, and the names under which tasks look for them.
const FILES: [(&str, &str); 5] = [
    ("lambada/lambada_test.jsonl", "lambada_test.jsonl"),
    ("hellaswag/hellaswag_val_full.txt.bz2", "hellaswag_val_full.txt"),
    ("winograd/winograd_wsc.jsonl", "WSCollection.xml"),
    ("wikitext2/wiki.test.raw", "wiki.test.raw"),
    ("enwiki_sample/enwiki-shortened.xml.bz2", "enwiki.xml"),
];
/// Tasks over these files, and the number of their items.
const TASKS: [(&str, u64); 6] = [
    ("lambada_openai_last_token", 5153),
    ("lambada_harness", 5153),
    ("hellaswag_text", 10_042),
    ("wsc273_partial", 273),
    ("wikitext2", 1),
    ("text", 1),
];
/// Items of a task that `make test` scores.
const FEW: u64 = 200;

/// Copies the files to `folder`. Returns false, and prints the reason, if they are not there.
fn copy_to(folder: &Path) -> bool {
    let corpora = match std::env::var_os("CONVOY_CORPORA") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpora")),
    };
    std::fs::create_dir(folder).unwrap();
    for (file, name) in FILES {
        let (from, to) = (corpora.join(file), folder.join(name));
        if !from.is_file() {
            println!("skipped: no {}; CONVOY_CORPORA names another folder of corpora", from.display());
            return false;
        }
        if file.ends_with(".bz2") {
            let script = "import bz2, sys; open(sys.argv[2], 'wb').write(bz2.open(sys.argv[1]).read())";
            assert!(Command::new("python3").args(["-c", script]).args([from, to]).status().unwrap().success());
        } else {
            std::fs::write(to, std::fs::read(from).unwrap()).unwrap();
        }
    }
    true
}

#[test]
fn real_files_have_the_same_scores_on_one_two_and_three_ranks() {
    let _turn = turn();
    let is_whole = std::env::var_os("CONVOY_TEST_WHOLE_EVALUATION").is_some();
    let (scratch, context) = if is_whole { (Scratch::new(), 1024) } else { (Scratch::with_few_tokens(), 512) };
    let data = scratch.path().join("data");
    if !copy_to(&data) {
        return;
    }
    let context = format!("model.context_tokens={context}");
    let settings = [&*context, "train.max_steps=2", "optimizer.warmup_steps=0", "evaluation.every_steps=0"];
    let config = scratch.config("run", &settings);
    run(by_launcher(1, &config), ExitCode::Done, &[]);
    let file = format!("text={}", data.join("enwiki.xml").display());
    let tasks: Vec<&str> = TASKS.iter().map(|(task, _)| if *task == "text" { &*file } else { *task }).collect();
    let eval = |ranks: u32| {
        let samples = scratch.path().join(format!("{ranks}.jsonl"));
        let mut command = Command::new(launcher());
        command.arg("eval").arg(&config).args(["--tasks", &tasks.join(","), "--json", "--ranks", &ranks.to_string()]);
        command.arg("--data").arg(&data).args(["--output", &scratch.url(&format!("on-{ranks}"))]);
        command.arg("--samples").arg(&samples).env_remove("RUST_LOG");
        if !is_whole {
            command.args(["--limit", &FEW.to_string()]);
        }
        let ended = run_with_deadline(command, if is_whole { 60 * DEADLINE } else { DEADLINE });
        assert!(ended.status.success(), "{}", both(&ended));
        let printed: Value = serde_json::from_slice(&ended.stdout).unwrap();
        let results: Vec<Value> =
            printed.as_array().unwrap().iter().map(|entry| entry["report"]["results"].clone()).collect();
        (results, std::fs::read_to_string(samples).unwrap())
    };
    let (one, items) = eval(1);
    for (results, (task, all)) in one.iter().zip(TASKS) {
        let expected = if is_whole { all } else { all.min(FEW) };
        assert_eq!(results["items"].as_u64(), Some(expected), "{task}: {results}");
    }
    assert_eq!(one.len(), TASKS.len());
    for ranks in [2, 3] {
        let (results, scores) = eval(ranks);
        assert!(results == one, "on {ranks} ranks {results:?}, expected {one:?}");
        assert!(scores == items, "an item has another score on {ranks} ranks");
    }
}
