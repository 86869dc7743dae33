//! A checkpoint is evaluated: the table of a job does not depend on its ranks, or on what has killed it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::exit_code::ExitCode;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::process::{Running, both, launcher, run_with_deadline, send};
use tests::scratch::Scratch;
use tests::training::{DEADLINE, by_launcher, ended, run, turn};

/// Items of each file of data.
const ITEMS: usize = 24;

/// A run with a checkpoint, and data in the formats of the tasks' official files, made up for the test.
struct Evaluated {
    scratch: Scratch,
    config: PathBuf,
}

impl Evaluated {
    fn new() -> Self {
        let scratch = Scratch::with_few_tokens();
        let settings = ["model.context_tokens=96", "train.max_steps=3", "evaluation.every_steps=0", "model.width=64"];
        let config = scratch.config("run", &settings);
        run(by_launcher(1, &config), ExitCode::Done, &[]);
        std::fs::create_dir(scratch.path().join("data")).unwrap();
        let evaluated = Evaluated { scratch, config };
        evaluated.write_data(ITEMS);
        evaluated
    }

    fn write_data(&self, items: usize) {
        let lambada =
            |n: usize| json!({ "text": format!("The fox saw {n} crows and sang for each of the {} crows", n * 7) });
        let hellaswag = |n: usize| {
            let ending =
                |choice: usize| format!("takes {} of the {} grapes.", choice * n, "many ".repeat(1 + choice % 3));
            let endings: Vec<String> = (0..4).map(ending).collect();
            json!({ "activity_label": "Eating", "ctx_a": "A crow sits.", "ctx_b": "the crow", "ctx": "A crow sits. the crow",
                    "label": n % 4, "endings": endings })
        };
        let lines = |line: &dyn Fn(usize) -> Value| (0..items).map(|n| format!("{}\n", line(n))).collect::<String>();
        let data = self.scratch.path().join("data");
        std::fs::write(data.join("lambada_test.jsonl"), lines(&lambada)).unwrap();
        std::fs::write(data.join("hellaswag_val.jsonl"), lines(&hellaswag)).unwrap();
        // Several windows of the model's context.
        std::fs::write(self.own_text(), "The crow and the fox shared all of the grapes until dusk. ".repeat(items))
            .unwrap();
    }

    fn own_text(&self) -> PathBuf {
        self.scratch.path().join("own.txt")
    }

    fn tasks(&self) -> String {
        format!("lambada_openai_last_token,lambada_harness,hellaswag_harness,text={}", self.own_text().display())
    }

    /// Returns `launcher eval` of the newest checkpoint, with scores kept in `output` and items written beside it.
    fn command(&self, ranks: u32, output: &str, more: &[&str]) -> Command {
        let mut command = Command::new(launcher());
        command.arg("eval").arg("--config").arg(&self.config).args(["--ranks", &ranks.to_string()]);
        command.args(["--tasks", &self.tasks(), "--json", "--output", &self.scratch.url(output)]);
        command.arg("--data").arg(self.scratch.path().join("data"));
        command.arg("--samples").arg(self.samples(output)).args(more).env_remove("RUST_LOG");
        command
    }

    fn samples(&self, output: &str) -> PathBuf {
        self.scratch.path().join(format!("{output}.jsonl"))
    }

    /// Runs `command` to its end, and returns the results, without their durations, and the items with their scores.
    fn outcome(&self, command: Command, output: &str) -> (Value, String) {
        let ended = run_with_deadline(command, DEADLINE);
        assert!(ended.status.success(), "{}", both(&ended));
        (results(&ended.stdout), std::fs::read_to_string(self.samples(output)).unwrap())
    }

    /// Returns the names of the saved parts of scores in `output`, with the number of scores in each.
    fn parts(&self, output: &str) -> BTreeMap<String, usize> {
        let folder = self.scratch.folder(output);
        let parts = folder.list().unwrap().into_iter().filter(|object| object.name.ends_with(".part"));
        let count =
            |name: &str| String::from_utf8(folder.get(name).unwrap().to_vec()).unwrap().matches("\"item\":").count();
        parts.map(|object| (object.name.clone(), count(&object.name))).collect()
    }
}

fn results(stdout: &[u8]) -> Value {
    let printed: Value = serde_json::from_slice(stdout).unwrap();
    let reports = printed.as_array().unwrap().iter().map(|entry| entry["report"]["results"].clone());
    reports.collect()
}

/// Runs `command`, which must end with `code`, and returns what it printed.
fn refused(command: Command, code: ExitCode, words: &[&str]) {
    ended(Running::start(command), code, words);
}

#[test]
fn scores_have_the_same_digits_on_any_number_of_ranks_with_any_micro_batch() {
    let _turn = turn();
    let evaluated = Evaluated::new();
    let (table, items) = evaluated.outcome(evaluated.command(1, "one", &["--set", "batch.micro_sequences=1"]), "one");
    assert_eq!(items.lines().count(), 3 * ITEMS + 1);
    for (ranks, output, micro) in [(2, "two", "batch.micro_sequences=8"), (3, "three", "batch.micro_sequences=2")] {
        let other = evaluated.outcome(evaluated.command(ranks, output, &["--set", micro]), output);
        assert!(other == (table.clone(), items.clone()), "{ranks} ranks: {other:?}, expected {table}\n{items}");
    }
    // Fewer items and another task beside them change no digit of an item.
    let (_, fewer) = evaluated.outcome(evaluated.command(1, "fewer", &["--limit", "5"]), "fewer");
    let all: Vec<&str> = items.lines().collect();
    assert_eq!(fewer.lines().count(), 3 * 5 + 1);
    assert!(fewer.lines().all(|line| all.contains(&line)), "{fewer}\n{items}");
    // What is there is not computed again, and is a table as before.
    let before = evaluated.parts("two");
    let again = evaluated.outcome(evaluated.command(1, "two", &[]), "two");
    assert!(again == (table, items) && evaluated.parts("two") == before);
}

#[test]
fn a_killed_evaluation_goes_on_where_it_was_and_ends_in_the_same_table() {
    let _turn = turn();
    let evaluated = Evaluated::new();
    evaluated.write_data(150);
    let expected = evaluated.outcome(evaluated.command(2, "whole", &[]), "whole");
    let sequences: usize = evaluated.parts("whole").values().sum();
    // Every unit is saved by itself, so that the job can be killed between two.
    let save = ["--save-every-s", "0"];
    let mut running = Running::start(evaluated.command(2, "killed", &save));
    running.wait_until("scores are saved", DEADLINE, |_| (evaluated.parts("killed").len() >= 10).then_some(()));
    let rank = running.processes("worker")[0];
    send(rank, Signal::SIGKILL);
    running.wait_for("restarting in", DEADLINE);
    let left = evaluated.parts("killed");
    running.wait_until("more scores are saved", DEADLINE, |_| {
        (evaluated.parts("killed").len() >= left.len() + 10).then_some(())
    });
    let launcher = running.pid();
    send(launcher, Signal::SIGKILL);
    drop(running);
    let between = evaluated.parts("killed");
    assert!(left.keys().all(|part| between.contains_key(part)), "what was saved stays");
    assert!(between.values().sum::<usize>() < sequences, "the job was killed before its end: {between:?}");
    let outcome = evaluated.outcome(evaluated.command(2, "killed", &save), "killed");
    assert!(outcome == expected, "{outcome:?}, expected {expected:?}");
    // Nothing is computed twice that was saved, by either of the killed jobs.
    assert_eq!(evaluated.parts("killed").values().sum::<usize>(), sequences);
}

#[test]
fn what_cannot_be_evaluated_is_refused_with_what_to_do() {
    let _turn = turn();
    let evaluated = Evaluated::new();
    let with = |more: &[&str]| {
        let mut command = Command::new(launcher());
        command.args(["eval", "--config"]).arg(&evaluated.config).args(more).env_remove("RUST_LOG");
        command
    };
    let data = evaluated.scratch.path().join("data");
    let data = data.to_str().unwrap();
    refused(
        with(&["--tasks", "hellaswagg_harness", "--data", data]),
        ExitCode::Config,
        &["there is no task \"hellaswagg_harness\"; did you mean hellaswag_harness?"],
    );
    refused(
        with(&["--tasks", "ptb", "--data", data]),
        ExitCode::Data,
        &["ptb.test.txt, which does not exist", "RNNLM"],
    );
    refused(with(&["--tasks", "ptb"]), ExitCode::Config, &["--data is missing: the folder with ptb.test.txt"]);
    refused(
        with(&["--tasks", "lambada_harness", "--data", data, "--set", "data.tokenizer=gpt2"]),
        ExitCode::Config,
        &["was trained with a tokenizer whose hash is"],
    );
    refused(
        with(&["--tasks", "lambada_harness", "--data", data, "--backend", "kubernetes"]),
        ExitCode::Config,
        &["does not start ranks in Kubernetes yet"],
    );
    let malformed = std::fs::read_to_string(Path::new(data).join("lambada_test.jsonl")).unwrap() + "{\"txt\": 1}\n";
    std::fs::write(Path::new(data).join("lambada_test.jsonl"), malformed).unwrap();
    let line = format!("lambada_test.jsonl:{}: expected", ITEMS + 1);
    refused(with(&["--tasks", "lambada_harness", "--data", data]), ExitCode::Data, &[&line]);
    refused(
        with(&["--tasks", &format!("text={data}/hellaswag_val.jsonl"), "--window", "200"]),
        ExitCode::Config,
        &["a window of 200 tokens", "the model's context"],
    );
}

#[test]
fn a_checkpoint_is_evaluated_by_its_url_alone_and_elsewhere_only_with_an_output() {
    let _turn = turn();
    let evaluated = Evaluated::new();
    let checkpoints = evaluated.scratch.path().join("run/checkpoints");
    let checkpoint = std::fs::read_dir(&checkpoints).unwrap().next().unwrap().unwrap().path();
    let eval = |checkpoint: &Path, more: &[&str]| {
        let mut command = Command::new(launcher());
        let data = evaluated.scratch.path().join("data");
        command.arg("eval").arg("--checkpoint").arg(checkpoint).arg("--data").arg(data);
        command.args(["--tasks", "hellaswag_mean_token", "--limit", "4", "--threads-per-rank", "1"]).args(more);
        command.env_remove("RUST_LOG");
        command
    };
    let words = ["hellaswag_mean_token  acc_norm_tokens", "29.55 %", "only the first 4 items", "not the official file"];
    let text = run(eval(&checkpoint, &[]), ExitCode::Done, &words);
    assert!(text.contains("run/evaluations"), "{text}");
    let copy = evaluated.scratch.path().join("best");
    let copied = Command::new("cp").arg("-r").args([&checkpoint, &copy]).status().unwrap();
    assert!(copied.success());
    refused(eval(&copy, &[]), ExitCode::Config, &["belongs to no run folder", "--output"]);
    let output = evaluated.scratch.url("of-the-copy");
    let other =
        run(eval(&copy, &["--output", &output, "--markdown"]), ExitCode::Done, &["| hellaswag_mean_token | acc |"]);
    assert!(other.contains("of-the-copy"), "{other}");
}
