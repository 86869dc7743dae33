//! The list of sequences consumed at step s is identical for every world size, before and after any number of
//! restarts, on token ids of real token shards: text that the prepare program has tokenized, two data sets with
//! weights, token shards with uneven ends, epochs of each. If the corpora are installed, a pair of Megatron's own
//! tools is a third data set.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use common::batch_plan::BatchPlan;
use common::config::{DataConfig, DataSource, StorageConfig};
use common::token_shard::{HEADER_BYTES, Index};
use common::topology::WorldSize;
use worker::data::{TokenStream, TrainingData};

const T: usize = 32;
/// Global batch, which neither 2, 3, 4 nor 8 divides.
const GLOBAL: u64 = 13;

/// A sequence and the token after it: T+1 ids.
type Row = Vec<i32>;

/// Folders of token shards for one test.
struct Texts {
    dir: tempfile::TempDir,
}

impl Texts {
    fn new() -> Self {
        Texts { dir: tempfile::tempdir().unwrap() }
    }

    /// Prepares `documents` documents of generated text, in token shards of 1,100 tokens, and returns the training
    /// side.
    fn prepare(&self, name: &str, documents: u64) -> PathBuf {
        let lines = (0..documents).map(|document| format!("{{\"text\": \"{}\"}}\n", text(document)));
        let (input, output) = (self.dir.path().join(format!("{name}.jsonl")), self.dir.path().join(name));
        fs::write(&input, lines.collect::<String>()).unwrap();
        let config = self.dir.path().join(format!("{name}.toml"));
        let toml = format!("[prepare]\ninputs = [{input:?}]\noutput = {output:?}\ntokens_per_shard = 1100\n");
        fs::write(&config, toml).unwrap();
        let made = Command::new(prepare_program()).args(["shards", "--config"]).arg(config).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        output.join("train")
    }
}

/// Returns the path of the built `prepare`, which is in the parent of the folder of this test's executable.
fn prepare_program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(Path::parent).unwrap().join("prepare");
    assert!(program.is_file(), "no {}; run `cargo build --release --workspace`", program.display());
    program
}

/// Returns a document of varying length, unlike all others.
fn text(document: u64) -> String {
    const WORDS: [&str; 8] = ["the shard", "of a rank", "naïve", "42", "straße", "resumes", "don't", "and trains"];
    let word = |i: u64| format!("{} {}", WORDS[(document * 7 + i * i) as usize % 8], document * i % 1009);
    (0..5 + document * 37 % 90).map(word).collect::<Vec<_>>().join(" ")
}

/// Returns the rows of `tokens`: sequence i is tokens `[iT, iT+T]`, without the remainder at the end.
fn rows_of(tokens: &[i32]) -> impl Iterator<Item = Row> {
    (0..tokens.len().saturating_sub(1) / T).map(|i| tokens[i * T..i * T + T + 1].to_vec())
}

fn tokens(bytes: &[u8]) -> Vec<i32> {
    bytes.chunks_exact(2).map(|pair| i32::from(u16::from_le_bytes([pair[0], pair[1]]))).collect()
}

/// Returns all rows of a folder of token shards by position, read by the format's description and by none of the
/// stream's code.
fn rows_of_folder(folder: &Path) -> Vec<Row> {
    let index = Index::parse("of the test", &fs::read(folder.join("index.json")).unwrap()).unwrap();
    let shards: Vec<_> = index
        .shards
        .iter()
        .map(|shard| tokens(&fs::read(folder.join(&shard.name)).unwrap()[HEADER_BYTES as usize..]))
        .collect();
    assert!(shards.len() > 3 && shards.iter().any(|shard| shard.len() % T != 1), "the shards' ends are to be uneven");
    shards.iter().flat_map(|shard| rows_of(shard)).collect()
}

fn open(sources: &[(PathBuf, f64)]) -> Arc<TrainingData> {
    let source = |(path, weight): &(PathBuf, f64)| DataSource { url: path.display().to_string(), weight: *weight };
    let config = DataConfig {
        tokenizer: "gpt2".into(),
        train: sources.iter().map(source).collect(),
        validation: Vec::new(),
        prefetch_bytes: 32 << 20,
        cache_dir: String::new(),
        cache_bytes: 0,
    };
    Arc::new(TrainingData::open(&config, &StorageConfig::default(), 5, GLOBAL, T as u64).unwrap())
}

/// Returns the rows that `world` ranks consume in `steps` steps, step by step, after `consumed` sequences.
fn consumed(data: &Arc<TrainingData>, world: u32, consumed: u64, steps: u64) -> Vec<Vec<Row>> {
    let plan = BatchPlan { global_sequences: GLOBAL, micro_sequences: 2, sequence_tokens: T as u64 };
    let world = WorldSize::new(world).unwrap();
    let start = |rank| (rank, TokenStream::train(data.clone(), plan, rank, world, consumed, steps));
    let mut streams: Vec<_> = world.ranks().map(start).collect();
    let of_step = |step| {
        let mut rows = Vec::new();
        for (rank, stream) in &mut streams {
            for _ in plan.micro_batches(consumed + step * GLOBAL, *rank, world) {
                rows.extend(stream.next().unwrap().tokens.chunks(T + 1).map(<[i32]>::to_vec));
            }
        }
        rows
    };
    (0..steps).map(of_step).collect()
}

/// Checks that every world size consumes identical rows at every step, also after a resume from another world size.
/// The rows must be those of `sets`, in shares by weight, and each epoch of a data set must have all of its rows
/// once.
fn is_elastic(sources: &[(PathBuf, f64)], sets: &[Vec<Row>], steps: u64) {
    let data = open(sources);
    for (set, rows) in data.sets().iter().zip(sets) {
        assert_eq!(set.sequences(), rows.len() as u64);
    }
    let alone = consumed(&data, 1, 0, steps);
    for world in [2, 3, 4, 8] {
        assert!(consumed(&data, world, 0, steps) == alone, "{world} ranks");
    }
    // Restarts at uneven points, each with another number of ranks; each restart opens the data anew.
    let (mut restarted, mut done) = (Vec::new(), 0);
    for (i, world) in [2, 3, 1, 8, 4, 3].into_iter().cycle().enumerate() {
        let until = (done + 1 + (i as u64 * 5) % 11 * steps / 60).min(steps);
        restarted.extend(consumed(&open(sources), world, done * GLOBAL, until - done));
        done = until;
        if done == steps {
            break;
        }
    }
    assert!(restarted == alone, "restarts change what is consumed");

    let mut of_sets = vec![Vec::new(); sets.len()];
    for (number, row) in alone.iter().flatten().enumerate() {
        let place = data.place(number as u64);
        assert_eq!(*row, sets[place.set][place.position as usize], "sequence {number}");
        of_sets[place.set].push(row);
    }
    let (all, weights) = (alone.len() as u64 * GLOBAL, sources.iter().map(|(_, weight)| weight));
    let whole: f64 = weights.clone().sum();
    for ((of_set, rows), weight) in of_sets.iter().zip(sets).zip(weights) {
        let share = of_set.len() as f64 / all as f64;
        assert!((share - weight / whole).abs() < 0.02, "{share} of a weight of {weight}");
        assert!(of_set.len() > 2 * rows.len(), "{} sequences are no two epochs of {}", of_set.len(), rows.len());
        for epoch in of_set.chunks_exact(rows.len()) {
            assert_eq!(counts(epoch.iter().copied()), counts(rows.iter()));
        }
    }
}

fn counts<'r>(rows: impl Iterator<Item = &'r Row>) -> HashMap<&'r Row, u32> {
    let mut counts = HashMap::new();
    rows.for_each(|row| *counts.entry(row).or_default() += 1);
    counts
}

#[test]
fn prepared_text_is_consumed_alike_by_any_number_of_ranks() {
    let texts = Texts::new();
    let sources = [(texts.prepare("large", 60), 0.7), (texts.prepare("small", 25), 0.3)];
    let sets: Vec<_> = sources.iter().map(|(folder, _)| rows_of_folder(folder)).collect();
    let steps = 3 * sets.iter().map(Vec::len).sum::<usize>() as u64 / GLOBAL;
    is_elastic(&sources, &sets, steps);
}

#[test]
fn a_pair_of_megatron_is_consumed_alike_beside_prepared_text() {
    let given = std::env::var_os("CONVOY_CORPORA").map(PathBuf::from);
    let corpora = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora"));
    let pair = corpora.join("openwebtext1000/meg-gpt2-openwebtext_text_document.bin");
    if !pair.exists() {
        println!("skipped: no {}; CONVOY_CORPORA names another folder of corpora", pair.display());
        return;
    }
    let texts = Texts::new();
    let folder = texts.prepare("text", 60);
    let sets = [rows_of(&tokens(&fs::read(&pair).unwrap())).collect::<Vec<_>>(), rows_of_folder(&folder)];
    // The text is far shorter than the pair, so two and a half epochs of the pair are many of the text.
    let steps = sets[0].len() as u64 * 5 / 2 / GLOBAL * 10 / 9;
    is_elastic(&[(pair, 0.9), (folder, 0.1)], &sets, steps);
}
