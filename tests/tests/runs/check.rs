//! Tests of `launcher check` before a run: it reports what is in order, and what is not, in a line each.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use common::exit_code::ExitCode;
use tests::odd_store::OddStore;
use tests::process::launcher;
use tests::scratch::Scratch;
use tests::training::{by_mpirun, run, turn};

fn check(config: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(launcher());
    command.args(["check", "--ranks", "2", "--config"]).arg(config).args(arguments);
    command
}

#[test]
fn a_run_that_can_start_is_ready_and_nothing_is_left_behind() {
    let _turn = turn();
    let scratch = Scratch::new();
    let words = [
        "ok       run folder ",
        "ok       training data ",
        "ok       model ",
        "ok       run                40 steps of 256 tokens: 10,240 tokens, 0.51 epochs of the data's 20,000",
        "ok       places             2 ranks, 1 thread each",
        "ok       device             the CPU: 2 ranks on 1 host",
        "ok       memory ",
        "ok       executable ",
        "MPI bandwidth ",
        "ready: ",
    ];
    let text = run(check(&scratch.config("run", &[]), &[]), ExitCode::Done, &words);
    assert!(!text.contains("failed"), "{text}");
    assert_eq!(scratch.folder("run").list().unwrap(), []);
}

#[test]
fn what_is_not_in_order_is_named_and_the_rest_is_looked_at_all_the_same() {
    let _turn = turn();
    let scratch = Scratch::new();
    let config = scratch.config("run", &[]);
    run(check(&config, &["--set", "train.micro_typo=1"]), ExitCode::Config, &["train.micro_typo"]);
    let occupied = scratch.path().join("occupied");
    fs::write(&occupied, "a file where the run folder should be").unwrap();
    let sets = [format!("run.output={}/run", occupied.display()), "data.tokenizer=/no/such".into()];
    let arguments: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let words =
        ["failed   run folder ", "failed   tokenizer ", "/no/such", "ok       executable ", "not ready: 2 failed"];
    run(check(&config, &arguments), ExitCode::Data, &words);
}

/// A plain web server lists nothing, and a folder may hold what is not to be trained on.
#[test]
fn data_is_accepted_and_refused_as_training_does() {
    let _turn = turn();
    let scratch = Scratch::new();
    let files: Vec<(String, Vec<u8>)> = fs::read_dir(scratch.path().join("train"))
        .unwrap()
        .map(Result::unwrap)
        .map(|file| (format!("train/{}", file.file_name().to_str().unwrap()), fs::read(file.path()).unwrap()))
        .collect();
    let served: Vec<(&str, &[u8])> = files.iter().map(|(name, content)| (&**name, &**content)).collect();
    let web = OddStore::start(Ipv4Addr::LOCALHOST.into(), &served);
    let damaged: Vec<_> = served.iter().filter(|(name, _)| !name.ends_with("shard-000001.bin")).copied().collect();
    let partial = OddStore::start(Ipv4Addr::LOCALHOST.into(), &damaged);
    let foreign = scratch.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    for name in ["train.bin", "val.bin"] {
        fs::write(foreign.join(name), [1; 8000]).unwrap();
    }
    let foreign = foreign.display();
    for (name, url, steps, code, word) in [
        ("web", format!("{}/train", web.url()), 2, ExitCode::Done, ""),
        ("web-partial", format!("{}/train", partial.url()), 30, ExitCode::Data, "shard-000001.bin does not exist"),
        ("held-out", foreign.to_string(), 2, ExitCode::Data, "val.bin: it lies beside train.bin"),
        ("pattern", format!("{foreign}/tr*.bin"), 2, ExitCode::Done, ""),
    ] {
        let data = format!("data.train=[{{ url = {url:?} }}]");
        let config = scratch.config(
            name,
            &[&data, &format!("train.max_steps={steps}"), "optimizer.warmup_steps=1", "data.cache_bytes=0"],
        );
        run(check(&config, &[]), code, &[word]);
        run(by_mpirun(1, &config), code, &[word]);
    }
}

#[test]
fn ranks_that_do_not_start_are_a_finding_with_their_words() {
    let _turn = turn();
    let scratch = Scratch::new();
    let mut command = check(&scratch.config("run", &[]), &["--json"]);
    let broken = scratch.path().join("worker");
    fs::write(&broken, "not a program").unwrap();
    command.env("CONVOY_WORKER", &broken);
    let words = ["\"subject\": \"ranks\"", "\"verdict\": \"failed\"", "\"epochs\": 0.51", "not ready: 1 failed"];
    run(command, ExitCode::Data, &words);
}
