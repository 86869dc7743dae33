//! A folder for one test: generated token shards, and the config of a model that trains on them in seconds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use common::config::{RawConfig, StorageConfig};
use common::metrics::RunMetrics;
use common::storage::Folder;
use common::token_shard::{BLOCK_BYTES, INDEX_NAME, Index, ShardEntry, encode};
use common::tokenizer::{AddedToken, END_OF_TEXT, Tokenizer, Vocabulary, files};
use serde_json::Value;
use tempfile::TempDir;

use crate::random::{Random, mix};

/// Tokens of a training shard. A step of [`Scratch::config`] consumes 256, so two shards last 78 steps.
const TRAIN_SHARD_TOKENS: usize = 10_000;
const TRAIN_SHARDS: usize = 2;
const VALIDATION_TOKENS: usize = 4_000;

/// Words of the synthetic language, each one token, with ids spread over the whole vocabulary.
const WORDS: u64 = 200;
/// Tokens of a small vocabulary: bytes, GPT-2's first merges, and the end of a text.
const FEW_TOKENS: u16 = 1024;

/// A folder of one test, removed at its end, with data sets `train` and `validation` at a URL.
pub struct Scratch {
    dir: TempDir,
    url: String,
    tokenizer: Tokenizer,
    /// Value of `data.tokenizer`.
    tokenizer_source: String,
}

impl Scratch {
    /// Creates a scratch with its data, and its runs to come, in the local folder.
    pub fn new() -> Self {
        let dir = temporary_folder();
        let url = format!("file://{}", dir.path().display());
        Self::with_data(dir, url, None)
    }

    /// Creates a scratch as [`Scratch::new`] does, with a vocabulary of 1,024 tokens, for a test of many runs: with GPT-2's,
    /// nearly all of a run's time is the embedding's.
    pub fn with_few_tokens() -> Self {
        let dir = temporary_folder();
        let (url, folder) = (format!("file://{}", dir.path().display()), dir.path().join("tokenizer"));
        let gpt2 = Tokenizer::gpt2().expect("the vocabulary is built in");
        let (end, bytes) = (usize::from(FEW_TOKENS - 1), 256);
        let mut tokens = gpt2.vocabulary().tokens[..end].to_vec();
        tokens.push(END_OF_TEXT.into());
        let merges = gpt2.vocabulary().merges[..end - bytes].to_vec();
        let vocabulary = Vocabulary { tokens, merges, added: vec![AddedToken::special(FEW_TOKENS - 1)] };
        files::write(&open(&folder.display().to_string()), &vocabulary).unwrap_or_else(|e| panic!("{e}"));
        Self::with_data(dir, url, Some(folder.display().to_string()))
    }

    /// Creates a scratch with its data, and its runs to come, at the storage URL `url`, which this process must be able to
    /// write to.
    pub fn at(url: &str) -> Self {
        Self::with_data(temporary_folder(), url.trim_end_matches('/').to_owned(), None)
    }

    fn with_data(dir: TempDir, url: String, tokenizer: Option<String>) -> Self {
        let tokenizer_source = tokenizer.unwrap_or_else(|| "gpt2".to_owned());
        let tokenizer = Tokenizer::open(&tokenizer_source, &StorageConfig::default()).unwrap_or_else(|e| panic!("{e}"));
        let scratch = Scratch { dir, url, tokenizer, tokenizer_source };
        let words = scratch.language();
        scratch.write_shards("train", &words.tokens(TRAIN_SHARDS * TRAIN_SHARD_TOKENS, 1), TRAIN_SHARD_TOKENS);
        scratch.write_shards("validation", &words.tokens(VALIDATION_TOKENS, 2), VALIDATION_TOKENS);
        scratch
    }

    fn language(&self) -> Language {
        Language { seed: 1, end_of_text: self.tokenizer.end_of_text() }
    }

    /// Returns the local folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the URL of `name`: the data sets are `train` and `validation`, and each run has its name.
    pub fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }

    /// Opens the folder at [`Scratch::url`].
    pub fn folder(&self, name: &str) -> Folder {
        open(&self.url(name))
    }

    /// Returns the events of run `run`, in their order.
    pub fn events(&self, run: &str) -> Vec<Value> {
        let folder = self.folder(run).folder("events");
        let parts = folder.list().unwrap_or_else(|e| panic!("{e}"));
        let lines = parts.iter().flat_map(|part| {
            let content = folder.get(&part.name).unwrap_or_else(|e| panic!("{e}"));
            String::from_utf8_lossy(&content).lines().map(str::to_owned).collect::<Vec<_>>()
        });
        lines.map(|line| serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
    }

    /// Writes the config of run `run` to a local file, and returns its path. The run folder is [`Scratch::url`] of `run`.
    ///
    /// The model has 2 layers and width 32, and trains for 40 steps of 8 sequences of 32 tokens in micro batches of 4.
    /// `overrides` are `section.key=value`; later ones win.
    ///
    /// # Panics
    /// Panics if the config has faults. A test of such a config passes them to the program itself, with `--set`.
    pub fn config(&self, run: &str, overrides: &[&str]) -> PathBuf {
        let text = format!(
            r#"
            [run]
            name = "{run}"
            output = "{output}"
            seed = 1
            device = "cpu"

            [model]
            layers = 2
            width = 32
            heads = 2
            context_tokens = 32
            vocabulary = {vocabulary}

            [data]
            tokenizer = "{tokenizer}"
            train = [{{ url = "{train}" }}]
            validation = [{{ url = "{validation}" }}]
            cache_dir = "{cache}"

            [batch]
            global_sequences = 8
            micro_sequences = 4
            sequence_tokens = 32

            [optimizer]
            peak_learning_rate = 1e-2
            final_fraction = 0.1
            warmup_steps = 4

            [train]
            max_steps = 40

            [checkpoint]
            every_steps = 10
            first_after_s = 0

            [evaluation]
            every_steps = 20
            validation_sequences = 16

            [launch]
            threads_per_rank = 1
            stall_timeout_s = 120
            grace_s = 30

            [parallel]
            timeout_s = 60

            [storage]
            deadline_s = 30
            "#,
            output = self.url(run),
            vocabulary = self.tokenizer.size(),
            tokenizer = self.tokenizer_source,
            cache = self.path().join("cache").display(),
            train = self.url("train"),
            validation = self.url("validation"),
        );
        let overrides: Vec<String> = overrides.iter().map(|o| (*o).to_owned()).collect();
        let config = RawConfig::parse("of the test", &text, &overrides).and_then(RawConfig::run);
        let path = self.path().join(format!("{run}.toml"));
        std::fs::write(&path, config.unwrap_or_else(|e| panic!("{e}")).to_toml()).expect("scratch can be written");
        path
    }

    /// Writes a data set `name` of the synthetic language: `shards` shards of `shard_tokens` tokens.
    pub fn add_data_set(&self, name: &str, shards: usize, shard_tokens: usize) {
        self.write_shards(name, &self.language().tokens(shards * shard_tokens, 3), shard_tokens);
    }

    fn write_shards(&self, name: &str, tokens: &[u16], shard_tokens: usize) {
        self.write_data_set(name, tokens.chunks(shard_tokens).map(encode));
    }

    /// Writes a data set `name` of these shards.
    pub fn write_data_set(&self, name: &str, contents: impl Iterator<Item = Bytes>) {
        let folder = self.folder(name).for_what_can_be_made_again();
        let mut shards = Vec::new();
        for (i, content) in contents.enumerate() {
            let name = format!("shard-{i:06}.bin");
            shards.push(ShardEntry::describe(&name, &content, self.tokenizer.end_of_text()));
            put(&folder, &name, content);
        }
        let index = Index {
            version: 1,
            tokenizer: self.tokenizer_source.clone(),
            tokenizer_hash: self.tokenizer.hash().to_owned(),
            vocabulary: self.tokenizer.size(),
            tokens: shards.iter().map(|s| s.tokens).sum(),
            documents: shards.iter().map(|s| s.documents).sum(),
            block_bytes: BLOCK_BYTES,
            shards,
        };
        put(&folder, INDEX_NAME, index.to_json());
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the training loss at every completed step of the run at `run_url`, from its metrics.
pub fn losses(run_url: &str) -> BTreeMap<u64, f64> {
    let metrics = RunMetrics::read(&open(run_url)).unwrap_or_else(|e| panic!("{e}"));
    metrics.steps.into_values().map(|record| (record.step, record.loss)).collect()
}

/// Creates a new folder of the test binary `name` in its `CARGO_TARGET_TMPDIR`, for what lasts as long as the process does:
/// what a static holds is not dropped at the end.
pub fn folder_of_binary(target: &str, name: &str) -> PathBuf {
    let folder = Path::new(target).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("cannot make {}: {e}", folder.display()));
    folder
}

fn temporary_folder() -> TempDir {
    tempfile::Builder::new().prefix("convoy-test-").tempdir().expect("the temporary folder can be written")
}

fn open(url: &str) -> Folder {
    Folder::open(url, &StorageConfig::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn put(folder: &Folder, name: &str, content: Bytes) {
    folder.put(name, content).unwrap_or_else(|e| panic!("{e}"));
}

/// A language in which one of four words follows each word, the first of them most often: a model has something to learn in a
/// few steps, and more of it in many.
struct Language {
    seed: u64,
    end_of_text: u16,
}

impl Language {
    /// Returns `count` tokens of documents of 20 to 83 words, each after an end-of-text token. Another `text` gives other
    /// documents.
    fn tokens(&self, count: usize, text: u64) -> Vec<u16> {
        let mut random = Random::new(mix(self.seed) ^ text);
        let (mut tokens, mut word, mut words_left) = (Vec::with_capacity(count), 0, 0);
        for _ in 0..count {
            if words_left == 0 {
                words_left = 20 + random.below(64);
                word = random.below(WORDS);
                tokens.push(self.end_of_text);
                continue;
            }
            words_left -= 1;
            tokens.push((mix(self.seed ^ word) % u64::from(self.end_of_text)) as u16);
            let choice = random.below(8).saturating_sub(4);
            word = mix(mix(self.seed ^ word) ^ choice) % WORDS;
        }
        tokens
    }
}

#[cfg(test)]
mod tests {
    use common::metrics::{RecordWriter, StepRecord};
    use common::token_shard::{HEADER_BYTES, decode_tokens};

    use super::*;

    #[test]
    fn data_is_whole_and_the_same_every_time() {
        assert_eq!(Scratch::with_few_tokens().tokenizer.size(), u32::from(FEW_TOKENS));
        let (one, two) = (Scratch::new(), Scratch::at("memory://scratch/x/"));
        for set in ["train", "validation"] {
            let (folder, other) = (one.folder(set), two.folder(set));
            let index = Index::parse(set, &folder.get(INDEX_NAME).unwrap()).unwrap();
            assert_eq!(folder.get(INDEX_NAME).unwrap(), other.get(INDEX_NAME).unwrap());
            for shard in &index.shards {
                let content = folder.get(&shard.name).unwrap();
                shard.verify_header(&shard.name, &content).unwrap();
                shard.verify_block(&shard.name, 0, &content).unwrap();
                assert!(decode_tokens(&content[HEADER_BYTES as usize..]).all(|t| u32::from(t) < index.vocabulary));
                assert!(shard.documents > 50);
            }
        }
    }

    /// Compares with the mean of -ln(count(word, next) / count(word)) over pairs, which a table of pairs would reach on this
    /// text.
    #[test]
    fn the_next_word_can_be_learnt() {
        let tokens = Scratch::new().language().tokens(20_000, 1);
        let (mut words, mut pairs) = (BTreeMap::<u16, f64>::new(), BTreeMap::<(u16, u16), f64>::new());
        for pair in tokens.windows(2) {
            *words.entry(pair[0]).or_default() += 1.0;
            *pairs.entry((pair[0], pair[1])).or_default() += 1.0;
        }
        let nats: f64 = pairs.iter().map(|((word, _), count)| -count * (count / words[word]).ln()).sum();
        let nats_per_token = nats / (tokens.len() - 1) as f64;
        assert!((0.5..2.0).contains(&nats_per_token), "{nats_per_token}");
        assert!(words.len() > 100, "{} words", words.len());
    }

    #[test]
    fn a_config_has_its_overrides_and_no_faults() {
        let scratch = Scratch::new();
        let path = scratch.config("first", &["train.max_steps=7", "train.max_steps=9"]);
        let config = RawConfig::load(&path, &[]).and_then(RawConfig::run).unwrap();
        assert_eq!(config.train.max_steps, 9);
        assert_eq!(config.run.output, scratch.url("first"));
    }

    #[test]
    fn losses_are_those_of_the_metrics() {
        let scratch = Scratch::new();
        let writer = RecordWriter::start(scratch.folder("first/metrics/attempt-0001")).unwrap();
        let json = r#"{"step":3,"tokens":1,"loss":0.30000000000000004,"learning_rate":1,"grad_norm":1,"step_ms":1,
            "tokens_per_second":1,"mfu":null,"data_wait_ms":0,"exposed_comm_ms":0,"memory_bytes":1}"#;
        writer.append(&serde_json::from_str::<StepRecord>(json).unwrap());
        drop(writer);
        assert_eq!(losses(&scratch.url("first")), BTreeMap::from([(3, 0.1 + 0.2)]));
    }
}
