//! A folder of token shards, read by the position of a sequence.
//!
//! The sequences of a data set are numbered shard by shard, in the order of the index; that number is a position.
//! Blocks are verified whole, several at once, and kept for the other sequences that lie in them.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use common::config::{DataConfig, DataSource, StorageConfig};
use common::token_shard::{BLOCK_BYTES, DataSetIndex, Layout, TOKEN_BYTES, decode_tokens};
use common::tokenizer::Tokenizer;

use super::blocks::Blocks;
use super::error::DataError;
use super::node_cache::NodeCache;
use super::shards::{BlockId, Shards};

/// Number of threads that read local files: enough for a disk that serves several requests at once, and few enough
/// for their data to stay in the processor's cache.
const LOCAL_READERS: u64 = 4;

/// A folder of token shards, cut into sequences. Shared by the threads that read it.
#[derive(Debug)]
pub struct DataSet {
    blocks: Blocks,
    sequence_tokens: u64,
    /// Position of the first sequence of each shard.
    starts: Vec<u64>,
    sequences: u64,
    budget: Budget,
}

/// Division of `data.prefetch_bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget {
    /// Number of blocks that are read at once, each of which takes [`BLOCK_BYTES`].
    pub readers: usize,
    /// Bytes for micro batches that wait to be trained on.
    pub queue_bytes: u64,
    /// Bytes for blocks that are kept.
    pub cache_bytes: u64,
}

impl Budget {
    /// Returns the number of blocks to read ahead: a part of those that are kept, so that they do not evict each
    /// other.
    pub fn blocks_ahead(&self) -> usize {
        (self.cache_bytes / BLOCK_BYTES / 4).max(1) as usize
    }

    /// Gives an eighth to micro batches, at most a quarter to blocks being read, and the rest to the cache.
    fn divide(prefetch_bytes: u64, concurrency: u64) -> Self {
        let readers = concurrency.min(prefetch_bytes / 4 / BLOCK_BYTES).max(1);
        let queue_bytes = prefetch_bytes / 8;
        let cache_bytes = prefetch_bytes.saturating_sub(queue_bytes + readers * BLOCK_BYTES);
        Budget { readers: readers as usize, queue_bytes, cache_bytes }
    }
}

impl DataSet {
    /// Opens the data set that `source` names: reads its index, and compares its tokenizer with the config's.
    ///
    /// Shards are opened when they are first read. Each data set gets an equal part of `data.prefetch_bytes`.
    pub fn open(
        source: &DataSource,
        data: &DataConfig,
        storage: &StorageConfig,
        sequence_tokens: u64,
    ) -> Result<DataSet, DataError> {
        let tokenizer = Tokenizer::open(&data.tokenizer, storage)?;
        let set = DataSetIndex::open(&source.url, (&data.tokenizer, &tokenizer), storage, sequence_tokens)?;
        let mut sequences = 0;
        let mut starts = Vec::with_capacity(set.index.shards.len());
        for shard in &set.index.shards {
            starts.push(sequences);
            sequences += shard.sequences(sequence_tokens);
        }
        let folder = &set.folder;
        let readers = if folder.local().is_some() { LOCAL_READERS } else { storage.concurrency };
        let budget = Budget::divide(data.prefetch_bytes / data.train.len().max(1) as u64, readers);
        let node_cache = if folder.local().is_none() { open_node_cache(data) } else { None };
        let blocks = Blocks::new(Shards::new(set), node_cache, budget.cache_bytes);
        Ok(DataSet { blocks, sequence_tokens, starts, sequences, budget })
    }

    /// Returns the URL of the data set's folder.
    pub fn url(&self) -> &str {
        self.blocks.shards().url()
    }

    /// Returns the number of sequences, at least 1; an epoch consumes each once.
    pub fn sequences(&self) -> u64 {
        self.sequences
    }

    /// Returns the number of tokens in all shards.
    pub fn tokens(&self) -> u64 {
        self.blocks.shards().index().tokens
    }

    /// Returns the number of tokens in a sequence, T. A row that is read has one more.
    pub fn sequence_tokens(&self) -> u64 {
        self.sequence_tokens
    }

    /// Returns the size of the vocabulary, which every token is below.
    pub fn vocabulary(&self) -> u32 {
        self.blocks.shards().index().vocabulary
    }

    /// Returns the hash of the tokenizer, see [`Tokenizer::hash`].
    pub fn tokenizer_hash(&self) -> &str {
        &self.blocks.shards().index().tokenizer_hash
    }

    /// Returns how many blocks had to be read twice because of a wrong hash: a sign of a bad network or memory.
    pub fn rereads(&self) -> u64 {
        self.blocks.shards().rereads()
    }

    /// Returns the bytes of blocks that were read and verified so far, without those found in the node cache.
    pub fn bytes_read(&self) -> u64 {
        self.blocks.shards().bytes_read()
    }

    /// Reads the sequences at `positions`, in that order, each of T+1 tokens: a row-major \[B, T+1\].
    pub fn read(&self, positions: &[u64]) -> Result<Vec<i32>, DataError> {
        self.load(positions.iter().copied())?;
        let mut tokens = Vec::with_capacity(positions.len() * (self.sequence_tokens as usize + 1));
        positions.iter().try_for_each(|position| self.append(*position, &mut tokens))?;
        Ok(tokens)
    }

    /// Reads the blocks of the sequences at `positions` that are neither here nor under way, several at once.
    pub(super) fn load(&self, positions: impl Iterator<Item = u64>) -> Result<(), DataError> {
        let mut needed = Vec::new();
        for position in positions {
            needed.extend(self.blocks_of(position)?);
        }
        needed.retain(|id| self.blocks.claim(*id));
        self.load_claimed(&needed)
    }

    /// Appends the T+1 tokens of the sequence at `position`.
    pub(super) fn append(&self, position: u64, tokens: &mut Vec<i32>) -> Result<(), DataError> {
        for (id, bytes) in self.pieces(position)? {
            let layout = self.blocks.shards().layout(id.shard);
            self.blocks.show(id, bytes, |bytes| match layout.token_bytes {
                // The common width has a loop of its own, so that it is compiled for it.
                TOKEN_BYTES => tokens.extend(decode_tokens(bytes).map(i32::from)),
                _ => tokens.extend(layout.tokens(bytes)),
            })?;
        }
        Ok(())
    }

    /// Returns the blocks that the sequence at `position` lies in.
    pub(super) fn blocks_of(&self, position: u64) -> Result<impl Iterator<Item = BlockId> + use<>, DataError> {
        Ok(self.pieces(position)?.map(|(id, _)| id))
    }

    pub(super) fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    pub(super) fn budget(&self) -> Budget {
        self.budget
    }

    /// Returns the blocks that the sequence at `position` lies in, each with the byte range in it.
    fn pieces(&self, position: u64) -> Result<impl Iterator<Item = (BlockId, Range<usize>)> + use<>, DataError> {
        if position >= self.sequences {
            let url = self.blocks.shards().url().to_owned();
            return Err(DataError::PastEnd { url, position, sequences: self.sequences });
        }
        // The last shard that starts at or before the position; if several start there, all but the last have no
        // sequence.
        let shard = self.starts.partition_point(|start| *start <= position) - 1;
        let token = (position - self.starts[shard]) * self.sequence_tokens;
        let Layout { first_byte, token_bytes, .. } = self.blocks.shards().layout(shard);
        let start = first_byte + token * token_bytes;
        let end = start + (self.sequence_tokens + 1) * token_bytes;
        Ok((start / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES)).map(move |block| {
            let from = block * BLOCK_BYTES;
            let bytes = start.max(from) - from..end.min(from + BLOCK_BYTES) - from;
            (BlockId { shard, block }, bytes.start as usize..bytes.end as usize)
        }))
    }

    /// Loads blocks that were claimed, several at once. Returns the first failure.
    fn load_claimed(&self, claimed: &[BlockId]) -> Result<(), DataError> {
        let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
        let load = || {
            // Goes on after a failure: a claimed block must be loaded, or other threads would wait for ever.
            while let Some(id) = claimed.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.blocks.load(*id) {
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        };
        match self.budget.readers.min(claimed.len()) {
            0 | 1 => load(),
            readers => thread::scope(|scope| {
                // Fewer threads also work, if the system grants no more.
                (1..readers).map_while(|_| thread::Builder::new().spawn_scoped(scope, load).ok()).for_each(drop);
                load();
            }),
        }
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// Opens the node cache that the config names. Training goes on without one if the disk refuses it.
fn open_node_cache(data: &DataConfig) -> Option<NodeCache> {
    if data.cache_bytes == 0 {
        return None;
    }
    let folder = match data.cache_dir.as_str() {
        "" => std::env::temp_dir().join(format!("convoy-blocks-{}", nix::unistd::getuid())),
        given => given.into(),
    };
    let opened = NodeCache::open(&folder, data.cache_bytes);
    opened
        .inspect_err(|e| {
            tracing::warn!("ranks share no blocks: data.cache_dir, {}, cannot be used: {e}", folder.display())
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, VOCABULARY};
    use super::*;

    #[test]
    fn sequences_are_consecutive_and_never_cross_shards() {
        let fixture = Fixture::new("consecutive", &[25, 1, 8, 9, 33]);
        let set = fixture.open(8).unwrap();
        // (25-1)/8 = 3 sequences, none of 1 or 8 tokens, 1 of 9, and (33-1)/8 = 4.
        assert_eq!((set.sequences(), set.tokens(), set.sequence_tokens()), (8, 76, 8));
        let firsts = [0, 8, 16, 34, 43, 51, 59, 67];
        let rows = set.read(&(0..8).collect::<Vec<_>>()).unwrap();
        for (row, first) in rows.chunks(9).zip(firsts) {
            assert!(row.iter().copied().eq(first..first + 9), "{row:?} should start at {first}");
        }
        let some: Vec<_> = set.read(&[6, 1, 6]).unwrap().chunks(9).map(|row| row[0]).collect();
        assert_eq!(some, [59, 8, 59]);
        assert!(set.read(&[]).unwrap().is_empty());
        assert_eq!(set.tokenizer_hash(), fixture.index.tokenizer_hash);
    }

    #[test]
    fn sequences_cross_blocks_and_the_cache_stays_within_its_bound() {
        // Two shards of 6 blocks each, and memory for fewer blocks.
        let fixture = Fixture::new("blocks", &[3_000_000, 3_000_001]);
        let set = fixture.open(1000).unwrap();
        assert_eq!(set.sequences(), 2999 + 3000);
        for start in [0, 3000, 1500, 0] {
            let positions: Vec<_> = (start..start + 2999).collect();
            for (row, position) in set.read(&positions).unwrap().chunks(1001).zip(&positions) {
                let in_shard = |p: u64| if p < 2999 { p * 1000 } else { 3_000_000 + (p - 2999) * 1000 };
                let expected = (in_shard(*position)..).map(|t| (t % u64::from(VOCABULARY)) as i32).take(1001);
                assert!(row.iter().copied().eq(expected), "the sequence at {position}");
            }
            let held = set.blocks.memory().bytes();
            assert!(held > 0 && held <= set.budget.cache_bytes, "{held} of {:?}", set.budget);
        }
        assert_eq!(set.rereads(), 0);
    }

    #[test]
    fn cached_blocks_are_not_read_again() {
        let fixture = Fixture::new("cached", &[100]);
        let set = fixture.open(8).unwrap();
        let before = set.read(&[3]).unwrap();
        fixture.folder.delete(&fixture.index.shards[0].name).unwrap();
        assert_eq!(set.read(&[3]).unwrap(), before);
    }

    #[test]
    fn the_budget_is_never_exceeded() {
        for mib in [8, 9, 32, 256, 10_000] {
            for concurrency in [1, 2, 16, 1000] {
                let budget = Budget::divide(mib << 20, concurrency);
                let sum = budget.readers as u64 * BLOCK_BYTES + budget.queue_bytes + budget.cache_bytes;
                assert_eq!(sum, mib << 20, "{budget:?}");
                assert!(budget.readers >= 1 && budget.readers as u64 <= concurrency, "{budget:?}");
                assert!(budget.cache_bytes >= sum / 2, "{budget:?}");
            }
        }
    }

    #[test]
    fn files_read_like_memory() {
        let dir = tempfile::tempdir().unwrap();
        let fixture = Fixture::at(dir.path().to_str().unwrap(), &[25, 600_000]);
        let set = fixture.open(100).unwrap();
        let row = set.read(&[5998]).unwrap();
        assert!(
            row.iter().copied().eq((0..101).map(|i| (25 + 599_800 + i) % i32::try_from(VOCABULARY).unwrap())),
            "{row:?}"
        );
    }
}
