//! Data sets for tests. Tokens are consecutive integers, so that a range check proves what was read.

use std::sync::Arc;

use bytes::Bytes;
use common::config::{DataConfig, DataSource, StorageConfig};
use common::storage::Folder;
use common::token_shard::{BLOCK_BYTES, DataSetIndex, INDEX_NAME, Index, ShardEntry, encode};
use common::tokenizer::Tokenizer;

use super::shards::Shards;
use super::{DataError, DataSet, TrainingData};

/// Modulus of the tokens: GPT-2's vocabulary.
pub(super) const VOCABULARY: u32 = 50_257;

/// A folder with shards and an index, both of which a test may damage.
pub(super) struct Fixture {
    pub folder: Folder,
    /// Index as written; [`Fixture::write_index`] writes it again after a change.
    pub index: Index,
}

impl Fixture {
    /// Creates shards with these numbers of tokens in memory, which count on from one shard to the next. `name` keeps
    /// tests apart.
    pub fn new(name: &str, shard_tokens: &[u64]) -> Self {
        Self::at(&format!("memory://data-{name}/train"), shard_tokens)
    }

    /// Creates shards with these numbers of tokens at `url`.
    pub fn at(url: &str, shard_tokens: &[u64]) -> Self {
        let folder = Folder::open(url, &StorageConfig::default()).unwrap();
        let mut next = 0;
        let mut shards = Vec::new();
        for (i, count) in shard_tokens.iter().enumerate() {
            let tokens: Vec<_> = (next..next + count).map(|t| (t % u64::from(VOCABULARY)) as u16).collect();
            next += count;
            let (name, content) = (format!("shard-{i:06}.bin"), encode(&tokens));
            shards.push(ShardEntry::describe(&name, &content, Tokenizer::GPT2_END_OF_TEXT));
            folder.put(&name, content).unwrap();
        }
        let index = Index {
            version: 1,
            tokenizer: "gpt2".into(),
            tokenizer_hash: Tokenizer::gpt2().unwrap().hash().to_owned(),
            vocabulary: VOCABULARY,
            tokens: next,
            documents: shards.iter().map(|s| s.documents).sum(),
            block_bytes: BLOCK_BYTES,
            shards,
        };
        let fixture = Fixture { folder, index };
        fixture.write_index();
        fixture
    }

    pub fn write_index(&self) {
        self.folder.put(INDEX_NAME, self.index.to_json()).unwrap();
    }

    /// Changes the bytes of a shard, but not its description in the index.
    pub fn change(&self, shard: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let name = &self.index.shards[shard].name;
        let mut content = self.folder.get(name).unwrap().to_vec();
        change(&mut content);
        self.folder.put(name, Bytes::from(content)).unwrap();
    }

    /// Returns a config with the least memory that is allowed.
    pub fn config(url: &str) -> DataConfig {
        let train = vec![DataSource { url: url.to_owned(), weight: 1.0 }];
        DataConfig {
            tokenizer: "gpt2".into(),
            train,
            validation: Vec::new(),
            prefetch_bytes: 8 << 20,
            cache_dir: String::new(),
            cache_bytes: 0,
        }
    }

    pub fn open(&self, sequence_tokens: u64) -> Result<DataSet, DataError> {
        let config = Self::config(self.folder.url());
        DataSet::open(&config.train[0], &config, &StorageConfig::default(), sequence_tokens)
    }

    /// Opens training data of this data set alone.
    pub fn train(&self, sequence_tokens: u64, global_sequences: u64) -> Arc<TrainingData> {
        Self::train_on(&[(self, 1.0)], sequence_tokens, global_sequences)
    }

    /// Opens training data of several data sets with these weights, under seed 11.
    pub fn train_on(sets: &[(&Fixture, f64)], sequence_tokens: u64, global_sequences: u64) -> Arc<TrainingData> {
        let source =
            |(fixture, weight): &(&Fixture, f64)| DataSource { url: fixture.folder.url().to_owned(), weight: *weight };
        let config = DataConfig { train: sets.iter().map(source).collect(), ..Self::config("") };
        let storage = StorageConfig::default();
        Arc::new(TrainingData::open(&config, &storage, 11, global_sequences, sequence_tokens).unwrap())
    }

    pub fn shards(&self) -> Shards {
        Shards::new(DataSetIndex::new(self.folder.clone(), self.index.clone()))
    }
}
