//! Reads one block of one token shard, and verifies it before it is used.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use common::sha256::Sha256Sum;
use common::storage::StorageError;
use common::token_shard::{BLOCK_BYTES, DataSetIndex, Index, Layout, ShardEntry, ShardError};

use super::error::DataError;

/// A block of [`BLOCK_BYTES`] in the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BlockId {
    /// Index of the shard.
    pub shard: usize,
    /// Index of the block in the shard.
    pub block: u64,
}

impl BlockId {
    /// Returns the byte range of this block in the shard `entry`; the last block is shorter.
    pub fn range(self, entry: &ShardEntry) -> Range<u64> {
        let start = self.block * BLOCK_BYTES;
        start..(start + BLOCK_BYTES).min(entry.bytes)
    }
}

/// The shards of one folder, as its index lists them.
#[derive(Debug)]
pub(crate) struct Shards {
    set: DataSetIndex,
    /// Whether each shard's size has been compared with the index.
    size_is_right: Vec<AtomicBool>,
    rereads: AtomicU64,
    bytes_read: AtomicU64,
}

impl Shards {
    /// Creates the shards of a data set; reads nothing yet.
    pub fn new(set: DataSetIndex) -> Self {
        let size_is_right = set.index.shards.iter().map(|_| AtomicBool::new(false)).collect();
        Shards { set, size_is_right, rereads: AtomicU64::new(0), bytes_read: AtomicU64::new(0) }
    }

    /// Returns the index.
    pub fn index(&self) -> &Index {
        &self.set.index
    }

    /// Returns the folder's URL.
    pub fn url(&self) -> &str {
        self.set.folder.url()
    }

    /// Returns how many blocks had to be read twice because of a wrong hash.
    pub fn rereads(&self) -> u64 {
        self.rereads.load(Ordering::Relaxed)
    }

    /// Returns the bytes that were read from the store or a local file and verified.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Returns the folder of the shards, if it is on a local disk.
    pub fn local_folder(&self) -> Option<PathBuf> {
        self.set.folder.local()
    }

    /// Returns the layout of the tokens in shard number `shard`.
    pub fn layout(&self, shard: usize) -> Layout {
        self.set.layout(shard)
    }

    /// Returns whether blocks have hashes.
    pub fn has_hashes(&self) -> bool {
        self.set.index.shards.iter().all(|shard| shard.bytes == 0 || !shard.block_sha256.is_empty())
    }

    /// Returns the hash of a block; `None` if the program that made the shards gives none.
    pub fn hash(&self, id: BlockId) -> Option<Sha256Sum> {
        self.set.index.shards[id.shard].block_sha256.get(id.block as usize).copied()
    }

    /// Reads a block from the store and verifies size, hash, header and vocabulary.
    pub fn read(&self, id: BlockId) -> Result<Bytes, DataError> {
        let entry = &self.set.index.shards[id.shard];
        self.verified(id, || self.set.folder.get_range(&entry.name, id.range(entry)).map_err(explain))
    }

    /// Returns the block that `fetch` reads, with size, hash, header and vocabulary verified.
    pub fn verified(&self, id: BlockId, fetch: impl Fn() -> Result<Bytes, DataError>) -> Result<Bytes, DataError> {
        self.check_size(id.shard)?;
        let content = self.read_verified(id, fetch)?;
        self.check_content(id, 0, &content)?;
        self.count_as_read(id);
        Ok(content)
    }

    /// Counts a block as read and verified.
    pub fn count_as_read(&self, id: BlockId) {
        let range = id.range(&self.set.index.shards[id.shard]);
        self.bytes_read.fetch_add(range.end - range.start, Ordering::Relaxed);
    }

    /// Explains a failure to read a shard as a local file.
    pub fn explain_local(&self, shard: usize, error: io::Error) -> DataError {
        let url = self.set.folder.url_of(&self.set.index.shards[shard].name);
        match error.kind() {
            io::ErrorKind::NotFound => DataError::MissingShard { url },
            _ => StorageError::Local { url, operation: "read", reason: error.to_string() }.into(),
        }
    }

    /// Compares the size of a shard with the index, once: a truncated file is then reported as truncated, not as
    /// damaged.
    pub fn check_size(&self, shard: usize) -> Result<(), DataError> {
        if self.size_is_right[shard].load(Ordering::Relaxed) {
            return Ok(());
        }
        let entry = &self.set.index.shards[shard];
        let got = self.set.folder.size(&entry.name).map_err(explain)?;
        if got != entry.bytes {
            let url = self.set.folder.url_of(&entry.name);
            return Err(ShardError::Size { url, expected: entry.bytes, got }.into());
        }
        self.size_is_right[shard].store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Returns what `fetch` reads, once it has the right hash. A wrong hash may come from the network or a cache on
    /// the way, so the block is fetched a second time before the shard is reported as damaged.
    fn read_verified(&self, id: BlockId, fetch: impl Fn() -> Result<Bytes, DataError>) -> Result<Bytes, DataError> {
        let entry = &self.set.index.shards[id.shard];
        let url = self.set.folder.url_of(&entry.name);
        let content = fetch()?;
        if self.hash(id).is_none() {
            return Ok(content);
        }
        let Err(damage) = entry.verify_block(&url, id.block, &content) else { return Ok(content) };
        self.rereads.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%damage, "reading the block once more");
        let content = fetch()?;
        entry.verify_block(&url, id.block, &content)?;
        Ok(content)
    }

    /// Checks what a right hash does not ensure: that the hashed bytes are a token shard of this vocabulary.
    /// `content` is the block from byte `from` on.
    pub fn check_content(&self, id: BlockId, from: u64, content: &[u8]) -> Result<(), DataError> {
        let entry = &self.set.index.shards[id.shard];
        let url = || self.set.folder.url_of(&entry.name);
        let layout = self.layout(id.shard);
        let Layout { first_byte, token_bytes, has_header } = layout;
        let is_start = id.block == 0 && from == 0;
        let before = if is_start { first_byte } else { 0 };
        if is_start && has_header {
            entry.verify_header(&url(), content)?;
        }
        let (vocabulary, tokens) = (self.set.index.vocabulary, &content[(before as usize).min(content.len())..]);
        if layout.are_below(vocabulary, tokens) {
            return Ok(());
        }
        let is_beyond = |token: &i32| !(0..i64::from(vocabulary)).contains(&i64::from(*token));
        let Some((i, token)) = layout.tokens(tokens).enumerate().find(|(_, token)| is_beyond(token)) else {
            return Ok(());
        };
        let offset = (id.range(entry).start + from + before - first_byte) / token_bytes + i as u64;
        Err(DataError::BeyondVocabulary { url: url(), offset, token: token.into(), vocabulary })
    }
}

/// Explains a failure of the store. An absent shard is a special case: the index promised it.
fn explain(error: StorageError) -> DataError {
    match error {
        StorageError::NotFound { url } => DataError::MissingShard { url },
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::fixture::Fixture;
    use super::*;

    /// Makes a fetch whose first `bad` answers have one bit flipped.
    fn read_with(bad: u32) -> (u64, u32, Result<Bytes, DataError>) {
        let fixture = Fixture::new("reread", &[100]);
        let shards = fixture.shards();
        let right = fixture.folder.get(&fixture.index.shards[0].name).unwrap();
        let fetches = Cell::new(0);
        let result = shards.read_verified(BlockId { shard: 0, block: 0 }, || {
            fetches.set(fetches.get() + 1);
            let mut content = right.to_vec();
            content[1050] ^= u8::from(fetches.get() <= bad);
            Ok(Bytes::from(content))
        });
        (shards.rereads(), fetches.get(), result)
    }

    #[test]
    fn a_wrong_hash_is_read_once_more_before_it_is_an_error() {
        assert!(matches!(read_with(0), (0, 1, Ok(_))));
        assert!(matches!(read_with(1), (1, 2, Ok(_))));
        assert!(matches!(read_with(2), (1, 2, Err(DataError::Shard(ShardError::Hash { block: 0, .. })))));
    }
}
