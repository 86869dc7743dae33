//! A checkpoint is evaluated: the table of a job does not depend on its ranks, or on what has killed it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::exit_code::ExitCode;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::process::{Running, both, launcher, run_with_deadline, send};
use tests::scratch::Scratch;
use tests::training::{DEADLINE, by_launcher, run, turn};

/// Small files in the official format of every task, written for tests.
const SMALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../common/evaluation/tests/small");

/// A run with a checkpoint of a model of context 512.
struct Evaluated {
    scratch: Scratch,
    config: PathBuf,
}

impl Evaluated {
    fn new() -> Self {
        let scratch = Scratch::with_few_tokens();
        let settings = [
            "model.context_tokens=512",
            "train.max_steps=3",
            "optimizer.warmup_steps=0",
            "evaluation.every_steps=0",
            "model.width=64",
        ];
        let config = scratch.config("run", &settings);
        run(by_launcher(1, &config), ExitCode::Done, &[]);
        Evaluated { scratch, config }
    }

    /// Returns `launcher eval` of the newest checkpoint.
    fn eval(&self, more: &[&str]) -> Command {
        let mut command = Command::new(launcher());
        command.arg("eval").arg("--config").arg(&self.config).args(more).env_remove("RUST_LOG");
        command
    }

    /// Returns `launcher eval` with its scores kept in `output`, and with every item written beside it.
    fn keeping(&self, output: &str, ranks: u32, more: &[&str]) -> Command {
        let mut command = self.eval(more);
        command.args(["--ranks", &ranks.to_string(), "--json", "--output", &self.scratch.url(output)]);
        command.arg("--samples").arg(self.samples(output));
        command
    }

    /// Writes a file of `count` passages; returns its folder.
    fn passages(&self, count: usize) -> PathBuf {
        let data = self.scratch.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let passage =
            |n: usize| json!({ "text": format!("The fox saw {n} crows and sang for each of the {} crows", n * 7) });
        let passages: String = (0..count).map(|n| format!("{}\n", passage(n))).collect();
        std::fs::write(data.join("lambada_test.jsonl"), passages).unwrap();
        data
    }

    fn samples(&self, output: &str) -> PathBuf {
        self.scratch.path().join(format!("{output}.jsonl"))
    }

    /// Runs `command` to its end. Returns the results, and the items with their scores.
    fn outcome(&self, output: &str, command: Command) -> (Value, String) {
        let ended = run_with_deadline(command, DEADLINE);
        assert!(ended.status.success(), "{}", both(&ended));
        let printed: Value = serde_json::from_slice(&ended.stdout).unwrap();
        let results = printed.as_array().unwrap().iter().map(|entry| entry["report"]["results"].clone());
        (results.collect(), std::fs::read_to_string(self.samples(output)).unwrap())
    }

    /// Returns the number of saved scores in each part of `output`.
    fn parts(&self, output: &str) -> BTreeMap<String, usize> {
        let folder = self.scratch.folder(output);
        let parts = folder.list().unwrap().into_iter().filter(|object| object.name.ends_with(".part"));
        let count = |name: &str| String::from_utf8_lossy(&folder.get(name).unwrap()).matches("\"item\":").count();
        parts.map(|object| (object.name.clone(), count(&object.name))).collect()
    }
}

#[test]
fn scores_have_the_same_digits_on_any_number_of_ranks_with_any_micro_batch() {
    let _turn = turn();
    let evaluated = Evaluated::new();
    let tasks = format!("all,text={SMALL}/text,documents={SMALL}/documents");
    let eval = |output: &str, ranks, micro: &str| {
        let all = ["--tasks", &tasks, "--data", SMALL, "--set", &format!("batch.micro_sequences={micro}")];
        evaluated.outcome(output, evaluated.keeping(output, ranks, &all))
    };
    let (table, items) = eval("one", 1, "1");
    assert!(table.as_array().unwrap().len() > 15, "{table}");
    for (ranks, output, micro) in [(2, "two", "8"), (4, "four", "2")] {
        let other = eval(output, ranks, micro);
        assert!(other == (table.clone(), items.clone()), "{ranks} ranks: {other:?}, expected {table}\n{items}");
    }
    // Fewer items, and no other task beside them, change no digit of an item.
    let fewer = ["--tasks", "hellaswag_harness", "--data", SMALL, "--limit", "3"];
    let (_, fewer) = evaluated.outcome("fewer", evaluated.keeping("fewer", 1, &fewer));
    let all: Vec<&str> = items.lines().collect();
    assert_eq!(fewer.lines().count(), 3);
    assert!(fewer.lines().all(|line| all.contains(&line)), "{fewer}\n{items}");
    // What is there is not computed again, and gives the table once more.
    let before = evaluated.parts("two");
    assert!(eval("two", 1, "4") == (table, items) && evaluated.parts("two") == before);
}

#[test]
fn a_killed_evaluation_goes_on_where_it_was_and_ends_in_the_same_table() {
    const ITEMS: usize = 800;
    let _turn = turn();
    let evaluated = Evaluated::new();
    let data = evaluated.passages(ITEMS);
    let tasks = ["--tasks", "lambada_openai_last_token,lambada_harness", "--data", data.to_str().unwrap()];
    let expected = evaluated.outcome("whole", evaluated.keeping("whole", 2, &tasks));
    // One limit after another, none of which ends with a block, leaves scores that are gone on from.
    for limit in ["20", "29", "75"] {
        evaluated.outcome("grown", evaluated.keeping("grown", 1, &[&tasks[..], &["--limit", limit]].concat()));
    }
    let grown = evaluated.outcome("grown", evaluated.keeping("grown", 2, &tasks));
    assert!(grown == expected, "{grown:?}, expected {expected:?}");
    // Every unit of a few items is saved by itself, so that the job can be killed between two.
    let each = [&tasks[..], &["--save-every-s", "0"]].concat();
    let saved = || evaluated.parts("killed").len();
    let mut running = Running::start(evaluated.keeping("killed", 2, &each));
    running.wait_until("scores are saved", DEADLINE, |_| (saved() >= 4).then_some(()));
    let rank = running.processes("worker").first().copied();
    send(rank.expect("the ranks run"), Signal::SIGKILL);
    running.wait_for("restarting in", DEADLINE);
    let left = evaluated.parts("killed");
    running.wait_until("more scores are saved", DEADLINE, |_| (saved() >= left.len() + 4).then_some(()));
    send(running.pid(), Signal::SIGKILL);
    drop(running);
    let between = evaluated.parts("killed");
    assert!(left.keys().all(|part| between.contains_key(part)), "what was saved stays");
    assert!(between.values().sum::<usize>() < 2 * ITEMS, "the job was killed before its end: {between:?}");
    let outcome = evaluated.outcome("killed", evaluated.keeping("killed", 2, &each));
    assert!(outcome == expected, "{outcome:?}, expected {expected:?}");
    assert_eq!(
        evaluated.parts("killed").values().sum::<usize>(),
        2 * ITEMS,
        "nothing that was saved is computed again"
    );
}

/// The trap of a harness whose fast ranks gave up: ranks exchange nothing until each has scored its own items.
#[test]
fn a_rank_that_is_far_behind_is_waited_for() {
    let _turn = turn();
    let evaluated = Evaluated::new();
    let data = evaluated.passages(1600);
    let tasks = ["--tasks", "lambada_harness", "--data", data.to_str().unwrap(), "--save-every-s", "0"];
    // Shorter than the rank stands still.
    let times = ["--set", "parallel.timeout_s=2", "--set", "storage.deadline_s=1"];
    let impatient = [&tasks[..], &times].concat();
    let mut running = Running::start(evaluated.keeping("behind", 2, &impatient));
    let parts = || evaluated.parts("behind");
    running.wait_until("scores are saved", DEADLINE, |_| (!parts().is_empty()).then_some(()));
    let slow = *running.processes("worker").last().expect("the ranks run");
    send(slow, Signal::SIGSTOP);
    let saved = || parts().values().sum::<usize>();
    let mut before = saved();
    std::thread::sleep(Duration::from_secs(4));
    while saved() > before {
        before = saved();
        std::thread::sleep(Duration::from_secs(4));
    }
    assert!(before < 1600, "the rank was done before it stood still");
    send(slow, Signal::SIGCONT);
    let ended = running.finish(DEADLINE);
    let printed = both(&ended);
    assert!(ended.status.success() && !printed.contains("restarting"), "{printed}");
    assert_eq!(saved(), 1600);
}

#[test]
fn what_cannot_be_evaluated_is_refused_with_what_to_do() {
    let _turn = turn();
    let evaluated = Evaluated::new();
    let refused = |more: &[&str], code, words: &[&str]| {
        run(evaluated.eval(more), code, words);
    };
    let misspelt = "there is no task \"hellaswagg_harness\"; did you mean hellaswag_harness?";
    refused(&["--tasks", "hellaswagg_harness", "--data", SMALL], ExitCode::Config, &[misspelt]);
    refused(&["--tasks", "text"], ExitCode::Config, &["give it as text=FILE"]);
    refused(&["--tasks", "ptb"], ExitCode::Config, &["--data is missing: the folder with ptb.test.txt"]);
    let empty = evaluated.scratch.path().to_str().unwrap();
    refused(&["--tasks", "ptb", "--data", empty], ExitCode::Data, &["ptb.test.txt, which does not exist", "RNNLM"]);
    let other = ["--tasks", "ptb", "--data", SMALL, "--set", "data.tokenizer=gpt2"];
    refused(&other, ExitCode::Config, &["was trained with a tokenizer whose hash is"]);
    let cluster = ["--tasks", "ptb", "--data", SMALL, "--backend", "kubernetes"];
    refused(&cluster, ExitCode::Config, &["--data = \"file:///", "a place of this machine, which pods do not reach"]);
    let window = ["--tasks", "ptb", "--data", SMALL, "--window", "2000"];
    refused(&window, ExitCode::Config, &["a window of 2000 tokens", "the model's context"]);
    let documents = evaluated.scratch.path().join("documents.jsonl");
    std::fs::write(&documents, "{\"text\": \"a b\"}\n{\"txt\": 1}\n").unwrap();
    let malformed = format!("documents={}", documents.display());
    refused(&["--tasks", &malformed], ExitCode::Data, &["documents.jsonl:2: expected"]);
}

#[test]
fn a_checkpoint_is_evaluated_by_its_url_alone_and_elsewhere_only_with_an_output() {
    let _turn = turn();
    let evaluated = Evaluated::new();
    let checkpoints = evaluated.scratch.path().join("run/checkpoints");
    let checkpoint = std::fs::read_dir(&checkpoints).unwrap().next().unwrap().unwrap().path();
    let eval = |checkpoint: &Path, more: &[&str]| {
        let mut command = Command::new(launcher());
        command.arg("eval").arg("--checkpoint").arg(checkpoint).args(["--data", SMALL]);
        command.args(["--tasks", "hellaswag_mean_token", "--limit", "2", "--threads-per-rank", "1"]).args(more);
        command.env_remove("RUST_LOG");
        command
    };
    let words = ["hellaswag_mean_token  acc_norm_tokens", "29.55 %", "only the first 2 items", "not the official file"];
    let text = run(eval(&checkpoint, &[]), ExitCode::Done, &words);
    assert!(text.contains("run/evaluations"), "{text}");
    let copy = evaluated.scratch.path().join("best");
    assert!(Command::new("cp").arg("-r").args([&checkpoint, &copy]).status().unwrap().success());
    run(eval(&copy, &[]), ExitCode::Config, &["belongs to no run folder", "--output"]);
    let output = evaluated.scratch.url("of-the-copy");
    let with_output = eval(&copy, &["--output", &output, "--markdown"]);
    run(with_output, ExitCode::Done, &["| hellaswag_mean_token | acc |", "of-the-copy"]);
}
