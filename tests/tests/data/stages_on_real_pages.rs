//! Tests of all stages on real input: web pages in archives, and documents that are texts already. Ranks, kills and stores have
//! no influence on what comes out.

use std::path::PathBuf;
use std::process::Command;

use common::exit_code::ExitCode;
use serde_json::Value;
use tests::documents::{by_launcher, by_mpirun};
use tests::killed::killed_until_done;
use tests::scratch::Scratch;
use tests::staged::{Files, made, shards};
use tests::store::Store;
use tests::training::{run, turn};

use super::corpora::Corpora;

/// Name of the folder, and of the bucket, of a job's inputs.
const INPUTS: &str = "inputs";

/// Jobs of some stages over real input, in a store that is also a folder.
struct Jobs {
    store: Store,
    /// Stages, as the config has them.
    stages: &'static str,
}

impl Jobs {
    fn path(&self, name: &str) -> PathBuf {
        self.store.scratch.path().join(name)
    }

    fn place(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes the config of the job `name` from `input` to `output`; returns its path. The rules are those of
    /// configs/prepare-webtext.toml.
    fn config(&self, name: &str, input: &str, output: &str) -> PathBuf {
        let path = self.path(&format!("{name}.toml"));
        let text = format!(
            "[prepare]\ninputs = [{input:?}]\noutput = {output:?}\nstages = {}\nvalidation_fraction = 0.1\n\
             tokens_per_shard = 10_000\n[webtext.clean]\nset = \"fineweb\"\n",
            self.stages
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes the config of a job from folder to folder, with the output `name`; returns its path.
    fn local_config(&self, name: &str) -> PathBuf {
        self.config(name, &self.place(INPUTS), &self.place(name))
    }

    fn made(&self, output: &str) -> Files {
        made(&self.path(output))
    }

    /// Returns the sums of each stage of a job that is done.
    fn sums(&self, output: &str) -> Vec<Value> {
        let record = std::fs::read(self.path(output).join("prepare.json")).unwrap();
        let record: Value = serde_json::from_slice(&record).unwrap();
        record["stages"].as_array().unwrap().clone()
    }

    /// Runs the job on one rank, and checks that each stage keeps some documents and drops others. `parquet` is the number of
    /// objects with documents that there must be at least. Returns what the job makes, and the sums of its stages.
    fn on_one_rank(&self, parquet: usize) -> (Files, Vec<Value>) {
        run(by_launcher(1, &self.local_config("one"), &[]), ExitCode::Done, &["documents, "]);
        let (one, sums) = (self.made("one"), self.sums("one"));
        for end in [".documents.parquet", ".lineage.parquet"] {
            assert!(one.keys().filter(|name| name.ends_with(end)).count() >= parquet, "{:?}", one.keys());
        }
        assert!(one.keys().any(|name| name.starts_with("train/shard-")), "{:?}", one.keys());
        for stage in &sums {
            let (kept, dropped) = (stage["kept"].as_u64().unwrap(), dropped(stage));
            // Few real pages have no duplicates among them.
            assert!(kept > 0 && (dropped > 0 || stage["stage"] == "deduplicate"), "{stage}");
            assert_eq!(stage["seen"], kept + dropped, "{stage}");
            println!("{}: {kept} kept, {dropped} dropped", stage["stage"]);
        }
        (one, sums)
    }

    fn assert_equal_on_more_ranks(&self, one: &Files) {
        for ranks in [2, 4] {
            let name = format!("on-{ranks}");
            run(by_launcher(ranks, &self.local_config(&name), &[]), ExitCode::Done, &[]);
            assert_equal(&self.made(&name), one, &name);
        }
    }

    fn assert_equal_after_kills(&self, one: &Files) {
        let config = self.local_config("killed");
        killed_until_done(|| by_mpirun(2, &config, &[]), &self.path("killed"));
        assert_equal(&self.made("killed"), one, "killed");
    }

    /// Documents and lineage name the objects that they come from, so token shards are compared.
    fn assert_equal_from_s3_to_s3(&self, one: &Files) {
        let config = self.config("s3", &format!("s3://{INPUTS}"), "s3://runs/s3");
        let command: Command = self.store.environment(by_launcher(2, &config, &[]));
        run(command, ExitCode::Done, &["tokens in "]);
        let on_s3 = self.made("runs/s3");
        assert!(!shards(&on_s3).is_empty() && shards(&on_s3) == shards(one), "{:?}", on_s3.keys());
    }
}

fn assert_equal(files: &Files, expected: &Files, name: &str) {
    assert!(files.keys().eq(expected.keys()), "{name}: {:?} {:?}", files.keys(), expected.keys());
    let differing: Vec<_> =
        files.iter().filter(|(name, bytes)| expected[*name] != **bytes).map(|(name, _)| name).collect();
    assert!(differing.is_empty(), "{name}: {differing:?}");
}

/// Returns the number of documents and records that a stage has not kept, by its sums.
fn dropped(stage: &Value) -> u64 {
    stage["dropped"].as_object().unwrap().values().map(|rule| rule["count"].as_u64().unwrap()).sum()
}

#[test]
fn real_pages_become_equal_bytes_on_any_ranks_after_kills_and_from_s3() {
    let _turn = turn();
    let Some(corpora) = Corpora::find() else { return };
    let scratch = Scratch::new();
    let archived = corpora.write_archives(&scratch.path().join(INPUTS));
    let jobs = Jobs { store: Store::over(scratch), stages: "[\"extract\", \"clean\", \"deduplicate\"]" };
    let (one, sums) = jobs.on_one_rank(8);
    let [extract, clean, deduplicate] = &sums[..] else { panic!("{sums:?}") };
    assert_eq!(extract["seen"], archived.pages + archived.errors);
    assert_eq!(extract["dropped"]["status"]["count"], archived.errors, "{extract}");
    assert_eq!((&clean["seen"], &deduplicate["seen"]), (&extract["kept"], &clean["kept"]));
    jobs.assert_equal_on_more_ranks(&one);
    jobs.assert_equal_after_kills(&one);
    jobs.assert_equal_from_s3_to_s3(&one);
}

#[test]
fn real_documents_that_are_cleaned_alone_become_equal_bytes_on_any_ranks_after_kills_and_from_s3() {
    let _turn = turn();
    let Some(corpora) = Corpora::find() else { return };
    let scratch = Scratch::new();
    let documents = corpora.write_documents(&scratch.path().join(INPUTS));
    let jobs = Jobs { store: Store::over(scratch), stages: "[\"clean\"]" };
    let (one, sums) = jobs.on_one_rank(2);
    let [clean] = &sums[..] else { panic!("{sums:?}") };
    assert_eq!(clean["seen"], documents);
    jobs.assert_equal_on_more_ranks(&one);
    jobs.assert_equal_after_kills(&one);
    jobs.assert_equal_from_s3_to_s3(&one);
}
