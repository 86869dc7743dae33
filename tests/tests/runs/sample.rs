//! Tests what a person with a text does: prepare, train, look at the checkpoints, sample.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use common::config::StorageConfig;
use common::exit_code::ExitCode;
use common::tokenizer::Tokenizer;
use serde_json::Value;
use tests::process::{both, launcher, run_with_deadline};
use tests::scratch::Scratch;
use tests::training::{DEADLINE, by_launcher, run};

#[test]
fn a_text_becomes_shards_checkpoints_and_samples() {
    let scratch = Scratch::new();
    let config = config(&scratch);

    let prepared: Value = serde_json::from_str(&print(&["prepare", "--json"], &config)).unwrap();
    assert!(prepared.to_string().contains("prepared"), "{prepared}");

    let mut early = Command::new(launcher());
    early.args(["sample", "--prompt", "The crow"]).arg(&config).env_remove("RUST_LOG");
    let output = run_with_deadline(early, DEADLINE);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("error: ") && said.contains("has no committed checkpoint"),
        "as the launcher says it: {said}"
    );

    let facts = [
        "\n  model       ",
        "\n  run         6 steps of ",
        " epochs of the data's ",
        "\n  device      the CPU: 2 ranks",
    ];
    let course = ["\n  memory      a rank needs ", "step      1/6", "expected: ", " for all 6 steps, "];
    let done = ["done: 6 steps, validation loss ", "launcher sample --config"];
    let text = run(by_launcher(2, &config), ExitCode::Done, &[&facts[..], &course, &done].concat());
    assert!(!text.contains("no step was left to do"), "{text}");
    // A run folder is enough.
    let folder = scratch.url("run");
    let mut again = Command::new(launcher());
    again.args(["train", &folder, "--ranks", "2"]).env_remove("RUST_LOG");
    let already = [
        "the run was complete already, at step 6",
        "done: 6 steps, validation loss ",
        "no step was left to do",
        "launcher sample file://",
    ];
    let again = run(again, ExitCode::Done, &already);
    assert!(!again.contains("committed "), "nothing is saved again: {again}");

    let listed: Value = serde_json::from_str(&print(&["checkpoints", "list", "--json"], &config)).unwrap();
    let steps: Vec<_> =
        listed.as_array().unwrap().iter().map(|checkpoint| checkpoint["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [4, 6]);
    let first = listed[0]["name"].as_str().unwrap();
    has_its_tokenizer(&scratch, first);
    let verified: Value = serde_json::from_str(&print(&["checkpoints", "verify", "--json"], &config)).unwrap();
    let sound: Vec<_> = verified.as_array().unwrap().iter().map(|checkpoint| checkpoint["sound"] == true).collect();
    assert_eq!(sound, [true, true], "{verified}");

    let arguments = ["sample", "--prompt", "The crow", "--tokens", "20"];
    let sample = |options: &[&str]| print(&[&arguments, options].concat(), &config);
    let text = sample(&["--seed", "7"]);
    assert!(text.starts_with("The crow") && text.len() > "The crow\n".len(), "{text:?}");
    let of_folder = print(&[&arguments[..], &["--seed", "7"]].concat(), Path::new(&folder));
    assert_eq!(of_folder, text, "the same seed gives the same text");
    assert_ne!(sample(&["--seed", "8"]), text, "another seed gives another text");
    assert_ne!(sample(&["--seed", "7", "--checkpoint", first]), text, "another checkpoint gives another text");
}

/// Checks that checkpoint `name` of the run has the tokenizer's files, and that a tokenizer opens from its folder.
fn has_its_tokenizer(scratch: &Scratch, name: &str) {
    let folder = scratch.folder("run").folder("checkpoints").folder(name);
    let gpt2 = Tokenizer::gpt2().unwrap();
    let manifest: Value = serde_json::from_slice(&folder.get("manifest.json").unwrap()).unwrap();
    let objects: Vec<_> = manifest["objects"].as_array().unwrap().iter().map(|object| &object["name"]).collect();
    for file in ["vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"] {
        assert!(objects.iter().any(|object| *object == file), "no {file} in {objects:?}");
        assert!(folder.exists(file).unwrap(), "{file}");
    }
    let opened = Tokenizer::open(folder.url(), &StorageConfig::default()).unwrap();
    assert_eq!(opened.hash(), gpt2.hash());
}

/// Returns what `launcher` with these arguments prints as its result about `target`, a config or a run folder; it must
/// succeed.
fn print(arguments: &[&str], target: &Path) -> String {
    let mut command = Command::new(launcher());
    command.args(arguments).arg(target).env_remove("RUST_LOG");
    let output = run_with_deadline(command, DEADLINE);
    assert!(output.status.success(), "{arguments:?}: {}", both(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Writes the config of a run of 6 steps on a text of 200 lines, each a document, a tenth of them for validation.
fn config(scratch: &Scratch) -> std::path::PathBuf {
    let text = scratch.path().join("fables.jsonl");
    let mut lines = String::new();
    for number in 0..200 {
        let fable =
            format!("The crow found {number} grapes. The fox wanted {} of them, and sang until dusk.", number / 2);
        writeln!(lines, "{}", serde_json::json!({ "text": fable })).unwrap();
    }
    std::fs::write(&text, lines).unwrap();
    let train = format!("data.train=[{{ url = \"{}\" }}]", scratch.url("prepared/train"));
    let validation = format!("data.validation=[{{ url = \"{}\" }}]", scratch.url("prepared/validation"));
    let path = scratch.config("run", &[&train, &validation, "train.max_steps=6", "checkpoint.every_steps=4"]);
    let run = std::fs::read_to_string(&path).unwrap();
    let prepare = format!(
        "[prepare]\ninputs = [{:?}]\noutput = {:?}\nvalidation_fraction = 0.1\n",
        text.display().to_string(),
        scratch.url("prepared")
    );
    std::fs::write(&path, run + &prepare).unwrap();
    path
}
