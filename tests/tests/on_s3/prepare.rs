//! Tests of preparing data from S3 to S3, killed and restarted, with the bytes of a job on a disk.

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use common::config::StorageConfig;
use common::exit_code::ExitCode;
use common::storage::Folder;
use nix::sys::signal::Signal;
use tests::process::{Running, launcher, send};
use tests::random::Random;
use tests::training::{DEADLINE, ended, run, turn};

use super::SERVER;

fn prepare(dir: &Path, input: &str, output: &str) -> Command {
    let config = dir.join("prepare.toml");
    std::fs::write(&config, "[prepare]\ninputs = []\noutput = \"\"\ntokens_per_shard = 300_000\n").unwrap();
    let mut command = Command::new(launcher());
    command.args(["prepare", "--ranks", "2", "--config"]).arg(&config);
    command.args(["--set", &format!("prepare.inputs=[\"{input}\"]"), "--set", &format!("prepare.output={output}")]);
    command.args(["--set", "prepare.memory_bytes=4000000"]);
    command
}

#[test]
fn from_s3_to_s3_is_as_on_a_disk() {
    LazyLock::force(&SERVER);
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let (local, s3) = (dir.path().display().to_string(), "s3://bucket/some where else".to_owned());
    let mut random = Random::new(3);
    let folders = [&local, &s3].map(|url| Folder::open(url, &StorageConfig::default()).unwrap());
    for object in 0..4 {
        let line =
            |n: u64| serde_json::json!({ "text": format!("{n} is {:x}. ", random_word(n)).repeat(30) }).to_string();
        let lines: Vec<String> = (0..6000).map(|_| line(random.below(1 << 40))).collect();
        for folder in &folders {
            folder.put(&format!("in/part-{object}.jsonl"), lines.join("\n").into()).unwrap();
        }
    }
    run(prepare(dir.path(), &format!("{local}/in"), &format!("{local}/out")), ExitCode::Done, &[]);

    let mut running = Running::start(prepare(dir.path(), &format!("{s3}/in/part-*.jsonl"), &format!("{s3}/out")));
    let has_run = |_: &Running| {
        let work = folders[1].folder("out/prepare-work").list().unwrap();
        work.iter().any(|object| object.name.ends_with(".run.json")).then_some(())
    };
    running.wait_until("a run was there", DEADLINE, has_run);
    send(*random.choose(&running.processes("prepare")), Signal::SIGKILL);
    ended(running, ExitCode::Done, &["rank lost", "restarting in", "tokens in "]);

    let objects = |folder: &Folder| -> Vec<(String, bytes::Bytes)> {
        let out = folder.folder("out");
        let listed = out.list().unwrap().into_iter().filter(|o| o.name.contains('/'));
        listed.map(|o| (o.name.clone(), out.get(&o.name).unwrap())).collect()
    };
    let [on_disk, on_s3] = [&folders[0], &folders[1]].map(objects);
    assert!(on_disk.len() > 5 && on_disk == on_s3, "{} and {} objects", on_disk.len(), on_s3.len());
}

/// Returns a word that no cache of words has.
fn random_word(n: u64) -> u64 {
    tests::random::mix(n) >> 20
}
