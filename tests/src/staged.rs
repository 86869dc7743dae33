//! Jobs with stages: their config, a job over pages and texts for ranks anywhere, and what jobs have made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use common::storage::Folder;
use serde_json::Value;

use crate::documents::files;
use crate::pages::{conversion, record};
use crate::random::{Random, mix};

/// Number of objects of [`put`], each a unit of work of the stage `extract`.
const OBJECTS: u64 = 16;
/// Number of pages in each object, for children to extract.
const PAGES: u64 = 22;
/// Number of texts in each object. With [`OBJECTS`] they are so much text that something can happen while ranks are at work.
const TEXTS: u64 = 1500;

/// Files of an output, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Writes the config of a job with all stages over the pages of [`crate::pages`], from `input` to `output`, to the file `path`.
///
/// # Panics
/// Panics if the file cannot be written.
pub fn write_config(path: &Path, input: &str, output: &str) {
    let text = format!(
        "[prepare]\ninputs = [{input:?}]\noutput = {output:?}\nstages = [\"extract\", \"clean\", \"deduplicate\"]\nvalidation_fraction = 0.1\n\
         tokens_per_shard = 20_000\n[webtext.clean]\nset = \"paper\"\n[webtext.clean.length]\nmin_words = 50\n"
    );
    std::fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// Returns all files of the folder `output` that are functions of inputs and rules: records have processor times.
///
/// # Panics
/// Panics if a file cannot be read.
pub fn made(output: &Path) -> Files {
    let files = files(output).into_iter().filter(|(name, _)| is_function_of_inputs(name));
    let read = |path: PathBuf| std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    files.map(|(name, path)| (name, read(path))).collect()
}

fn is_function_of_inputs(name: &str) -> bool {
    name != "prepare.json" && name != "README.md" && !(name.starts_with("stages/") && name.ends_with(".json"))
}

/// Returns the token shards and indexes among `files`.
pub fn shards(files: &Files) -> Vec<(&String, &Vec<u8>)> {
    files.iter().filter(|(name, _)| name.starts_with("train/") || name.starts_with("validation/")).collect()
}

/// Puts archives into `folder`, as `NN.warc`; always the same. Each has pages, some of them damaged, too deep or in error, and many
/// texts, which need no child.
///
/// # Panics
/// Panics if the folder cannot be written.
pub fn put(folder: &Folder) {
    let mut random = Random::new(5);
    for object in 0..OBJECTS {
        let mut content = Vec::new();
        (0..PAGES).for_each(|page| content.extend(record(object * PAGES + page, &mut random)));
        (0..TEXTS).for_each(|text| content.extend(text_record(object * TEXTS + text, &mut random)));
        folder.put(&format!("{object:02}.warc"), content.into()).unwrap_or_else(|e| panic!("{e}"));
    }
}

/// Returns a WARC record with a text.
fn text_record(number: u64, random: &mut Random) -> Vec<u8> {
    // Words that no cache of words has. Some texts are equal.
    let n = if number % 100 == 99 { 1 } else { random.below(1 << 40) };
    let text = format!("{n} is {:x}. ", mix(n) >> 20).repeat(30);
    conversion(number, &format!("http://text.example/{number}"), &text)
}

/// Completes `launcher`, the command of a launcher anywhere, so that it takes the archives that [`put`] has put to the URL
/// `inputs` through all stages, and writes to the URL `output`. `sets` override the config, which is written to a file in `dir`.
///
/// # Panics
/// Panics if that file cannot be written.
pub fn prepare(mut launcher: Command, dir: &Path, [inputs, output]: [&str; 2], sets: &[String]) -> Command {
    let path = dir.join("staged.toml");
    // The texts are in no language. A host is left out, so that `clean` has something to drop.
    let text = "[prepare]\ninputs = []\noutput = \"\"\nstages = [\"extract\", \"clean\", \"deduplicate\"]\ntokens_per_shard = 300_000\n\
                memory_bytes = 4_000_000\n[webtext.clean]\nset = \"paper\"\n[webtext.clean.length]\nmin_words = 50\n\
                [webtext.clean.language]\nkept = []\n[webtext.clean.address]\nexcluded_hosts = [\"site3.example\"]\n";
    std::fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    launcher.args(["prepare", "--config"]).arg(path);
    launcher.arg(format!("--set=prepare.inputs={inputs}/*.warc"));
    launcher.arg(format!("--set=prepare.output={output}"));
    launcher.args(sets.iter().map(|set| format!("--set={set}")));
    launcher
}

/// Returns whether a rank of the job that writes to `output` has finished a unit of a stage, and the job is not done yet.
///
/// # Panics
/// Panics if the folder cannot be listed.
pub fn is_in_work(output: &Folder) -> bool {
    let units = output.folder("stages").list().unwrap_or_else(|e| panic!("{e}"));
    let is_unit = |name: &str| name.contains("/unit-") && name.ends_with(".json");
    let is_done = output.exists("train/index.json").unwrap_or_else(|e| panic!("{e}"));
    !is_done && units.iter().any(|object| is_unit(&object.name))
}

/// Returns what the job over [`put`]'s archives has made in `output`: documents, lineage, token shards and indexes, with their
/// names.
///
/// # Panics
/// Panics if they cannot be read, if they are too few for a test of many parts, or unless children have extracted pages and each
/// stage has dropped something.
pub fn prepared(output: &Folder) -> Vec<(String, Bytes)> {
    let get = |name: &str| output.get(name).unwrap_or_else(|e| panic!("{e}"));
    let record: Value = serde_json::from_slice(&get("prepare.json")).expect("a record is JSON");
    // What a child has found of a page, what a rule has found of its text, and what ranks have found together.
    for (stage, rule) in [(0_usize, "too_deep"), (1, "address.excluded_host"), (2, "duplicate.text")] {
        let count = &record["stages"][stage]["dropped"][rule]["count"];
        assert!(count.as_u64().is_some_and(|count| count > 0), "{rule}: {count} of {}", output.url());
    }
    let listed = output.list().unwrap_or_else(|e| panic!("{e}"));
    let names = listed.into_iter().map(|object| object.name);
    let names = names.filter(|name| name.contains('/') && is_function_of_inputs(name));
    let made: Vec<(String, Bytes)> = names.map(|name| (name.clone(), get(&name))).collect();
    for (end, least) in [(".documents.parquet", 3 * OBJECTS), (".lineage.parquet", 3 * OBJECTS), (".bin", 5)] {
        let count = made.iter().filter(|(name, _)| name.ends_with(end)).count() as u64;
        assert!(count >= least, "{} has {count} objects {end}", output.url());
    }
    made
}
