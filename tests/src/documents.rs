//! Documents to prepare, the config and the commands of a job that does, and what a job has made of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use common::exit_code::ExitCode;
use common::storage::Folder;

use crate::process::{Running, launcher, program};
use crate::random::{Random, mix};
use crate::training::ended;

/// Number of objects with documents. With [`LINES`] they are so much text that something can happen while ranks encode it.
const OBJECTS: u64 = 4;
/// Number of documents in each object.
const LINES: u64 = 6000;

/// Puts documents into `folder`, as `part-N.jsonl`; always the same.
///
/// # Panics
/// Panics if the folder cannot be written.
pub fn put(folder: &Folder) {
    let mut random = Random::new(3);
    for object in 0..OBJECTS {
        // Words that no cache of words has.
        let text = |n: u64| format!("{n} is {:x}. ", mix(n) >> 20).repeat(30);
        let line = |n: u64| serde_json::json!({ "text": text(n) }).to_string();
        let lines: Vec<String> = (0..LINES).map(|_| line(random.below(1 << 40))).collect();
        folder.put(&format!("part-{object}.jsonl"), lines.join("\n").into()).unwrap_or_else(|e| panic!("{e}"));
    }
}

/// Writes the config of a job in many parts to a file in `dir`, and returns its path. Commands override inputs and output.
fn config(dir: &Path) -> PathBuf {
    let path = dir.join("prepare.toml");
    let text = "[prepare]\ninputs = []\noutput = \"\"\ntokens_per_shard = 300_000\nmemory_bytes = 4_000_000\n";
    std::fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    path
}

/// Completes `launcher`, the command of a launcher anywhere, so that it prepares the documents that [`put`] has put to the URL
/// `inputs`, and writes to the URL `output`. `sets` override the config, which is written to a file in `dir`.
///
/// # Panics
/// Panics if that file cannot be written.
pub fn prepare(mut launcher: Command, dir: &Path, [inputs, output]: [&str; 2], sets: &[String]) -> Command {
    launcher.args(["prepare", "--config"]).arg(config(dir));
    launcher.arg(format!("--set=prepare.inputs={inputs}/part-*.jsonl"));
    launcher.arg(format!("--set=prepare.output={output}"));
    launcher.args(sets.iter().map(|set| format!("--set={set}")));
    launcher
}

/// Returns whether a rank of the job that writes to `output` has finished a part of its work, and the job is not done yet.
///
/// # Panics
/// Panics if the folder cannot be listed.
pub fn is_in_work(output: &Folder) -> bool {
    let work = output.folder("prepare-work").list().unwrap_or_else(|e| panic!("{e}"));
    work.iter().any(|object| object.name.ends_with(".run.json"))
}

/// Returns the token shards and indexes in `output`, with their names.
///
/// # Panics
/// Panics if they cannot be read, or if there are too few for a test of many parts.
pub fn prepared(output: &Folder) -> Vec<(String, Bytes)> {
    let listed = output.list().unwrap_or_else(|e| panic!("{e}"));
    let shards = listed.into_iter().filter(|object| object.name.contains('/'));
    let read = |name: String| {
        let content = output.get(&name).unwrap_or_else(|e| panic!("{e}"));
        (name, content)
    };
    let shards: Vec<_> = shards.map(|object| read(object.name)).collect();
    assert!(shards.len() > 5, "{} has {} objects", output.url(), shards.len());
    shards
}

/// Returns the command that prepares what `config` says by `ranks` ranks of the launcher's, with these overrides.
pub fn by_launcher(ranks: u32, config: &Path, sets: &[&str]) -> Command {
    let mut command = Command::new(launcher());
    command.args(["prepare", "--ranks", &ranks.to_string(), "--config"]).arg(config);
    command.args(sets.iter().map(|set| format!("--set={set}")));
    command
}

/// Returns the command that prepares what `config` says by `ranks` ranks of mpirun's, with these overrides.
pub fn by_mpirun(ranks: u32, config: &Path, sets: &[&str]) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n", &ranks.to_string()]);
    command.arg(program("prepare")).args(["shards", "--config"]).arg(config);
    command.args(sets.iter().map(|set| format!("--set={set}")));
    command
}

/// Runs a prepare job to its end, which must be successful, and returns the most memory, in bytes, that a rank has taken.
///
/// # Panics
/// Panics if it is not, or takes longer than `deadline`.
pub fn peak_memory_bytes(command: Command, deadline: Duration) -> u64 {
    let mut running = Running::start(command);
    let mut peak = 0;
    running.watch(deadline, Duration::from_millis(20), |running| {
        peak = peak.max(running.peak_memory_bytes("prepare"));
    });
    ended(running, ExitCode::Done, &[]);
    peak
}

/// Returns the files below `folder`, by name; empty where there is none.
///
/// # Panics
/// Panics if a name is not UTF-8, or if a file vanishes meanwhile.
pub fn files(folder: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_else(|name| panic!("{}", name.display()));
        match entry.file_type().unwrap_or_else(|e| panic!("{name}: {e}")).is_dir() {
            true => {
                found.extend(files(&entry.path()).into_iter().map(|(below, path)| (format!("{name}/{below}"), path)))
            }
            false => drop(found.insert(name, entry.path())),
        }
    }
    found
}
