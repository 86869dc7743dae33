//! Writes a shard from front to back in bounded memory, and describes it for the index.

use bytes::Bytes;
use common::sha256::Sha256Sum;
use common::storage::{Folder, StorageError, Upload};
use common::token_shard::{BLOCK_BYTES, HEADER_BYTES, ShardEntry, header};
use sha2::{Digest, Sha256};

/// Writer of a shard in a folder.
pub struct ShardWriter<'f> {
    upload: Upload<'f>,
    /// Line of the index, as far as it is known.
    entry: ShardEntry,
    /// Hash of the whole file.
    hasher: Sha256,
    /// Block that is not full yet.
    block: Vec<u8>,
}

impl<'f> ShardWriter<'f> {
    /// Begins a shard of `tokens` tokens.
    pub fn begin(folder: &'f Folder, name: &str, tokens: u64) -> Result<Self, StorageError> {
        let entry = ShardEntry {
            name: name.to_owned(),
            tokens,
            documents: 0,
            bytes: HEADER_BYTES + 2 * tokens,
            sha256: Sha256Sum::UNKNOWN,
            block_sha256: Vec::new(),
        };
        let mut block = header(tokens);
        block.reserve_exact(BLOCK_BYTES as usize - block.len());
        Ok(ShardWriter { upload: folder.upload(name)?, entry, hasher: Sha256::new(), block })
    }

    /// Appends tokens, little-endian. `is_start` says whether they begin with the start of a document.
    pub fn write(&mut self, mut tokens: &[u8], is_start: bool) -> Result<(), StorageError> {
        self.entry.documents += u64::from(is_start);
        while !tokens.is_empty() {
            let fits = tokens.len().min(BLOCK_BYTES as usize - self.block.len());
            self.block.extend_from_slice(&tokens[..fits]);
            tokens = &tokens[fits..];
            if self.block.len() == BLOCK_BYTES as usize {
                let next = Vec::with_capacity(BLOCK_BYTES as usize);
                self.end_block(next)?;
            }
        }
        Ok(())
    }

    fn end_block(&mut self, next: Vec<u8>) -> Result<(), StorageError> {
        let block = Bytes::from(std::mem::replace(&mut self.block, next));
        self.entry.block_sha256.push(Sha256Sum::of(&block));
        self.hasher.update(&block);
        self.upload.write(block)
    }

    /// Makes the shard appear in its folder, and returns its line of the index.
    pub fn finish(mut self) -> Result<ShardEntry, StorageError> {
        if !self.block.is_empty() {
            self.end_block(Vec::new())?;
        }
        self.upload.finish()?;
        self.entry.sha256 = Sha256Sum(self.hasher.finalize().into());
        Ok(self.entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::config::StorageConfig;
    use common::token_shard::encode;

    #[test]
    fn a_shard_is_as_it_would_be_in_one_piece() {
        let folder = Folder::open("memory://shard-writer", &StorageConfig::default()).unwrap();
        for count in [1, 600_000, BLOCK_BYTES / 2 - 512] {
            let tokens: Vec<u16> = (0..count).map(|i| if i % 1000 == 0 { 7 } else { 8 + (i % 91) as u16 }).collect();
            let bytes: Vec<u8> = tokens.iter().flat_map(|t| t.to_le_bytes()).collect();
            let mut writer = ShardWriter::begin(&folder, "s", count).unwrap();
            bytes.chunks(2000).for_each(|document| writer.write(document, true).unwrap());
            let entry = writer.finish().unwrap();
            let content = folder.get("s").unwrap();
            assert!(content == encode(&tokens));
            assert_eq!(entry, ShardEntry::describe("s", &content, 7));
        }
    }
}
