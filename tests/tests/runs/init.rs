//! Tests what a person with a text and nothing else does: init, train, sample.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use common::exit_code::ExitCode;
use tests::process::{both, launcher, run_with_deadline};
use tests::training::{DEADLINE, run, turn};

/// Returns the launcher in the folder `here`, with these words as arguments.
fn launch(here: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(launcher());
    command.current_dir(here).args(words).env_remove("RUST_LOG");
    command
}

/// Returns what the launcher prints as its result; it must succeed.
fn print(here: &Path, words: &[&str]) -> String {
    let output = run_with_deadline(launch(here, words), DEADLINE);
    assert!(output.status.success(), "{words:?}: {}", both(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Writes a text of some 40 kB to the file `name`.
fn write_text(here: &Path, name: &str) {
    let mut text = String::new();
    for number in 0..500 {
        writeln!(text, "The crow found {number} grapes. The fox wanted {} of them, and sang until dusk.\n", number / 2)
            .unwrap();
    }
    std::fs::write(here.join(name), text).unwrap();
}

#[test]
fn a_text_becomes_a_config_a_run_and_a_sample() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    // As a pattern, this name would match the other.
    let name = "a 'crow' [1].txt";
    write_text(here, name);
    std::fs::write(here.join("a 'crow' 1.txt"), "not this one").unwrap();
    let commands = print(here, &["init", name, "--device", "cpu"]);
    let own = launcher().display().to_string();
    assert_eq!(commands, format!("{own} train run.toml\n{own} sample run.toml --prompt \"The\"\n"));
    let config = std::fs::read_to_string(here.join("run.toml")).unwrap();
    assert!(config.contains("# A first GPT-2 on a 'crow' [1].txt") && config.contains("runs/a-crow-1"), "{config}");

    // Less than the config's own, which takes a minute.
    let short =
        ["--config", "run.toml", "--ranks", "2", "--set", "batch.global_sequences=4", "--set", "train.max_steps=6"];
    let check = launch(here, &[&["check"], &short[..]].concat());
    run(check, ExitCode::Done, &["`launcher train` prepares it first, from a 'crow' [[]1].txt", "ready: "]);
    let train = || launch(here, &[&["train"], &short[..]].concat());
    let words = [
        "data/a-crow-1/train is not there yet: it is prepared first",
        "1 document, ",
        "validation  1 document, ",
        "step      1/6",
        "done: 6 steps, validation loss ",
    ];
    run(train(), ExitCode::Done, &words);
    let again = run(train(), ExitCode::Done, &["the run was complete already, at step 6"]);
    assert!(!again.contains("prepared"), "{again}");

    let sample = print(here, &["sample", "--config", "run.toml", "--prompt", "The crow", "--tokens", "8"]);
    assert!(sample.starts_with("The crow"), "{sample}");
}

#[test]
fn a_folder_of_notes_has_a_config_and_files_of_other_kinds_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::create_dir_all(here.join("notes/deeper")).unwrap();
    for name in ["notes/one.md", "notes/deeper/two.md"] {
        write_text(here, name);
    }
    std::fs::write(here.join("notes/picture.png"), [0x89, 0x50, 0]).unwrap();
    print(here, &["init", "notes", "--output", "notes.toml", "--device", "cpu"]);
    let config = std::fs::read_to_string(here.join("notes.toml")).unwrap();
    assert!(config.contains("inputs = [\"notes/**/*.md\"]") && config.contains("in 2 documents"), "{config}");
    let refused = |words: &[&str], code, expected| run(launch(here, words), code, &[expected]);
    refused(&["init", "notes", "--output", "notes.toml"], ExitCode::Config, "notes.toml exists already");
    print(here, &["init", "notes", "--output", "notes.toml", "--force"]);
    refused(&["init", "notes/picture.png"], ExitCode::Data, "notes/picture.png: no text to read there");
    std::fs::write(here.join("picture.txt"), [0x89, 0x50, 0]).unwrap();
    refused(&["init", "picture.txt"], ExitCode::Data, "picture.txt: not UTF-8");
    std::fs::write(here.join("short.txt"), "Too short.").unwrap();
    refused(&["init", "short.txt"], ExitCode::Data, "too few to train on");
    assert!(!here.join("run.toml").exists());
    // A tokenizer of its own has as many rows as it has tokens.
    print(here, &["tokenizer", "train", "--vocab-size", "300", "--output", "tok", "notes/**/*.md"]);
    print(here, &["init", "notes", "--tokenizer", "tok", "--device", "cpu"]);
    let config = std::fs::read_to_string(here.join("run.toml")).unwrap();
    assert!(config.contains("vocabulary = 300\n") && config.matches("tokenizer = \"tok\"").count() == 2, "{config}");
}

#[test]
fn check_refuses_what_prepare_would_refuse() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write_text(here, "book.txt");
    print(here, &["init", "book.txt", "--device", "cpu"]);
    std::fs::create_dir(here.join("pictures")).unwrap();
    std::fs::write(here.join("pictures/one.png"), [0x89, 0x50, 0]).unwrap();
    for inputs in ["pictures", "pictures/*.txt"] {
        let set = format!("prepare.inputs={inputs}");
        let refusal = format!("cannot be prepared: prepare.inputs names {inputs}, and in file:///");
        let check = launch(here, &["check", "run.toml", "--ranks", "1", "--set", &set]);
        run(check, ExitCode::Data, &[&refusal, "not ready: "]);
    }
}

#[test]
fn a_document_that_cannot_be_read_is_named_with_the_flags_that_help_and_left_out_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let mut lines = String::new();
    for number in 0..200 {
        writeln!(lines, "{{\"text\": \"The crow found {number} grapes, and the fox sang until dusk.\"}}").unwrap();
    }
    std::fs::write(here.join("web.jsonl"), format!("{lines}{{\"body\": \"x\"}}\n")).unwrap();
    let words = [
        "web.jsonl, line 201: no field \"text\" (--text-field names another)",
        "leave such documents out with --on-bad-document skip",
    ];
    let text = run(launch(here, &["init", "web.jsonl", "--device", "cpu"]), ExitCode::Data, &words);
    assert!(!text.contains("prepare.") && !here.join("run.toml").exists(), "{text}");
    print(here, &["init", "web.jsonl", "--device", "cpu", "--on-bad-document", "skip"]);
    let config = std::fs::read_to_string(here.join("run.toml")).unwrap();
    assert!(config.contains("\non_bad_document = \"skip\"\n") && config.contains("in 200 documents"), "{config}");
    let prepare = launch(here, &["prepare", "run.toml", "--ranks", "1"]);
    run(prepare, ExitCode::Done, &["left out    1 document: no string in the field of the text"]);
}
