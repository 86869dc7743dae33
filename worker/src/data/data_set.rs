//! A folder of token shards, read by the position of a sequence.
//!
//! The sequences of a data set are numbered shard by shard, in the order of the index; that number is a position.
//! Reading goes by whole blocks, several at once, each kept for the sequences that will share it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::Bytes;
use common::config::{DataConfig, DataSource, StorageConfig};
use common::storage::{Folder, StorageError};
use common::token_shard::{BLOCK_BYTES, HEADER_BYTES, INDEX_NAME, Index, TOKEN_BYTES, decode_tokens};
use common::tokenizer::Tokenizer;

use super::cache::BlockCache;
use super::error::{DataError, TokenizerIdentity};
use super::shards::{BlockId, Shards};

/// A folder of token shards, cut into sequences. Shared by the threads that read it.
#[derive(Debug)]
pub struct DataSet {
    shards: Shards,
    sequence_tokens: u64,
    /// Position of the first sequence of each shard.
    starts: Vec<u64>,
    sequences: u64,
    budget: Budget,
    cache: Mutex<BlockCache>,
}

/// How `data.prefetch_bytes` is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget {
    /// Blocks that are read at once, each taking [`BLOCK_BYTES`] while it is under way.
    pub readers: usize,
    /// Micro batches that wait to be trained on.
    pub queue_bytes: u64,
    /// Blocks that are kept.
    pub cache_bytes: u64,
}

impl Budget {
    /// An eighth to micro batches, at most a quarter to blocks under way, and what is left to the cache.
    fn divide(prefetch_bytes: u64, concurrency: u64) -> Self {
        let readers = concurrency.min(prefetch_bytes / 4 / BLOCK_BYTES).max(1);
        let queue_bytes = prefetch_bytes / 8;
        let cache_bytes = prefetch_bytes.saturating_sub(queue_bytes + readers * BLOCK_BYTES);
        Budget { readers: readers as usize, queue_bytes, cache_bytes }
    }
}

/// Where a part of a sequence lies in a block, and where it goes.
struct Piece {
    block_bytes: Range<usize>,
    first_token: usize,
}

impl DataSet {
    /// Opens the folder of `source`: reads its index, and compares its tokenizer with the config's.
    ///
    /// Shards are looked at when they are first read. Each data set has `data.prefetch_bytes` of its own.
    pub fn open(
        source: &DataSource,
        data: &DataConfig,
        storage: &StorageConfig,
        sequence_tokens: u64,
    ) -> Result<DataSet, DataError> {
        let folder = Folder::open(&source.url, storage)?;
        let index = read_index(&folder)?;
        check_tokenizer(&folder, &index, &Tokenizer::open(&data.tokenizer, storage)?, &data.tokenizer)?;
        let mut sequences = 0;
        let mut starts = Vec::with_capacity(index.shards.len());
        for shard in &index.shards {
            starts.push(sequences);
            sequences += shard.sequences(sequence_tokens);
        }
        if sequences == 0 {
            return Err(DataError::TooShort { url: folder.url().to_owned(), tokens: index.tokens, sequence_tokens });
        }
        let budget = Budget::divide(data.prefetch_bytes, storage.concurrency);
        let cache = Mutex::new(BlockCache::new(budget.cache_bytes));
        Ok(DataSet { shards: Shards::new(folder, index), sequence_tokens, starts, sequences, budget, cache })
    }

    /// Number of sequences, at least 1; an epoch consumes each once.
    pub fn sequences(&self) -> u64 {
        self.sequences
    }

    /// Tokens of all shards.
    pub fn tokens(&self) -> u64 {
        self.shards.index().tokens
    }

    /// Tokens of one sequence, T; a row that is read has one more.
    pub fn sequence_tokens(&self) -> u64 {
        self.sequence_tokens
    }

    /// Every token is below this.
    pub fn vocabulary(&self) -> u32 {
        self.shards.index().vocabulary
    }

    /// Hash of the tokenizer, see [`Tokenizer::hash`].
    pub fn tokenizer_hash(&self) -> &str {
        &self.shards.index().tokenizer_hash
    }

    /// Blocks that had to be read twice so far because of a wrong hash: a sign of a bad network or memory.
    pub fn rereads(&self) -> u64 {
        self.shards.rereads()
    }

    /// The sequences at `positions`, one after the other, each of T+1 tokens: a row-major \[B, T+1\].
    pub fn read(&self, positions: &[u64]) -> Result<Vec<i64>, DataError> {
        let row = self.sequence_tokens as usize + 1;
        let mut tokens = vec![0; positions.len() * row]; // [B, T+1]
        let mut pieces: BTreeMap<BlockId, Vec<Piece>> = BTreeMap::new();
        for (i, position) in positions.iter().enumerate() {
            self.cut(*position, i * row, &mut pieces)?;
        }
        let blocks: Vec<_> = pieces.keys().copied().collect();
        self.visit(&blocks, |id, content| {
            for piece in &pieces[&id] {
                let source = decode_tokens(&content[piece.block_bytes.clone()]).map(i64::from);
                tokens[piece.first_token..].iter_mut().zip(source).for_each(|(to, from)| *to = from);
            }
        })?;
        Ok(tokens)
    }

    pub(super) fn budget(&self) -> Budget {
        self.budget
    }

    /// Adds the pieces of the sequence at `position`, whose first token goes to `first_token`.
    fn cut(
        &self,
        position: u64,
        mut first_token: usize,
        pieces: &mut BTreeMap<BlockId, Vec<Piece>>,
    ) -> Result<(), DataError> {
        if position >= self.sequences {
            let url = self.shards.url().to_owned();
            return Err(DataError::PastEnd { url, position, sequences: self.sequences });
        }
        // The last shard that starts at or before it; of several, all but the last have no sequence.
        let shard = self.starts.partition_point(|start| *start <= position) - 1;
        let token = (position - self.starts[shard]) * self.sequence_tokens;
        let mut byte = HEADER_BYTES + token * TOKEN_BYTES;
        let end = byte + (self.sequence_tokens + 1) * TOKEN_BYTES;
        while byte < end {
            let block = byte / BLOCK_BYTES;
            let piece_end = end.min((block + 1) * BLOCK_BYTES);
            let block_bytes = (byte - block * BLOCK_BYTES) as usize..(piece_end - block * BLOCK_BYTES) as usize;
            pieces.entry(BlockId { shard, block }).or_default().push(Piece { block_bytes, first_token });
            first_token += ((piece_end - byte) / TOKEN_BYTES) as usize;
            byte = piece_end;
        }
        Ok(())
    }

    /// Shows each of `blocks` to `visitor`, in no particular order: those in the cache first, then the others as they
    /// are read.
    fn visit(&self, blocks: &[BlockId], mut visitor: impl FnMut(BlockId, &[u8])) -> Result<(), DataError> {
        let mut missing = Vec::new();
        for &id in blocks {
            let cached = self.cache().get(id);
            match cached {
                Some(content) => visitor(id, &content),
                None => missing.push(id),
            }
        }
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            // Without a buffer, so that no reader holds more than one block. The receiver belongs to this closure: it
            // is gone after the first error, and the readers end at their next block.
            let (sender, receiver) = sync_channel(0);
            for _ in 0..self.budget.readers.min(missing.len()) {
                let (sender, missing, next) = (sender.clone(), &missing, &next);
                scope.spawn(move || self.read_blocks(missing, next, sender));
            }
            drop(sender);
            for (id, content) in receiver {
                let content = content?;
                visitor(id, &content);
                self.cache().insert(id, content);
            }
            Ok(())
        })
    }

    /// One reader: takes blocks off `missing` until there are none, or nobody wants them.
    fn read_blocks(
        &self,
        missing: &[BlockId],
        next: &AtomicUsize,
        sender: SyncSender<(BlockId, Result<Bytes, DataError>)>,
    ) {
        while let Some(&id) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            if sender.send((id, self.shards.read(id))).is_err() {
                return;
            }
        }
    }

    fn cache(&self) -> MutexGuard<'_, BlockCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_index(folder: &Folder) -> Result<Index, DataError> {
    let url = folder.url_of(INDEX_NAME);
    let content = match folder.get(INDEX_NAME) {
        Err(StorageError::NotFound { .. }) => return Err(DataError::NoIndex { url: folder.url().to_owned() }),
        other => other?,
    };
    let index = Index::parse(&url, &content)?;
    match index.shards.is_empty() {
        true => Err(DataError::NoShards { url }),
        false => Ok(index),
    }
}

/// Whether the shards were made with `tokenizer`, which the config calls `name`. Its name may differ: the same files may
/// lie elsewhere.
fn check_tokenizer(folder: &Folder, index: &Index, tokenizer: &Tokenizer, name: &str) -> Result<(), DataError> {
    let expected =
        TokenizerIdentity { name: name.to_owned(), vocabulary: tokenizer.size(), hash: tokenizer.hash().to_owned() };
    let got = TokenizerIdentity {
        name: index.tokenizer.clone(),
        vocabulary: index.vocabulary,
        hash: index.tokenizer_hash.clone(),
    };
    match (&got.hash, got.vocabulary) == (&expected.hash, expected.vocabulary) {
        true => Ok(()),
        false => {
            let url = folder.url_of(INDEX_NAME);
            Err(DataError::Tokenizer { url, expected: Box::new(expected), got: Box::new(got) })
        }
    }
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
        // Two shards of 6 blocks each, and memory for fewer.
        let fixture = Fixture::new("blocks", &[3_000_000, 3_000_001]);
        let set = fixture.open(1000).unwrap();
        assert_eq!(set.sequences(), 2999 + 3000);
        for start in [0, 3000, 1500, 0] {
            let positions: Vec<_> = (start..start + 2999).collect();
            for (row, position) in set.read(&positions).unwrap().chunks(1001).zip(&positions) {
                let in_shard = |p: u64| if p < 2999 { p * 1000 } else { 3_000_000 + (p - 2999) * 1000 };
                let expected = (in_shard(*position)..).map(|t| (t % u64::from(VOCABULARY)) as i64).take(1001);
                assert!(row.iter().copied().eq(expected), "the sequence at {position}");
            }
            let held = set.cache().bytes();
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
        assert!(row.iter().copied().eq((0..101).map(|i| (25 + 599_800 + i) % i64::from(VOCABULARY))), "{row:?}");
    }
}
