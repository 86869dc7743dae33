//! The index of a folder of token shards, and the checks of a token shard against it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::format::{BLOCK_BYTES, HEADER_BYTES, MAGIC, TOKEN_BYTES, VERSION, decode_tokens};
use crate::sha256::Sha256Sum;
use crate::untrusted;

/// Name of the index in its folder.
pub const INDEX_NAME: &str = "index.json";
/// Version of the index that is written and read.
pub const INDEX_VERSION: u32 = 1;

/// What is wrong with a token shard or its index.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The index does not have the form that prepare writes.
    #[error("{url}: not an index of token shards: {reason}; prepare the data again")]
    Index {
        /// URL of the index.
        url: String,
        /// What is wrong with the index.
        reason: String,
    },
    /// A word in the header of a token shard is wrong.
    #[error("{url}: {what} is {got}, expected {expected}: not a token shard, or a damaged one")]
    Header {
        /// URL of the token shard.
        url: String,
        /// Word of the header.
        what: &'static str,
        /// Value that the index or the format requires.
        expected: i64,
        /// Value in the file.
        got: i64,
    },
    /// The token shard has fewer or more bytes than its index says.
    #[error("{url}: {got} bytes, expected {expected}: truncated or overwritten; copy or prepare it again")]
    Size {
        /// URL of the token shard.
        url: String,
        /// Size in the index, in bytes.
        expected: u64,
        /// Size of the file, in bytes.
        got: u64,
    },
    /// A block does not match its hash in the index.
    #[error(
        "{url}: block {block} (bytes {}..{}) has SHA-256 {got}, expected {expected}: damaged; copy or prepare it again",
        block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES
    )]
    Hash {
        /// URL of the token shard.
        url: String,
        /// Number of the block.
        block: u64,
        /// Hash in the index.
        expected: Sha256Sum,
        /// Hash of the bytes that were read.
        got: Sha256Sum,
    },
}

/// Table of contents of a folder of token shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Version of this structure, 1.
    pub version: u32,
    /// Name of the tokenizer, such as `gpt2`.
    pub tokenizer: String,
    /// Hash of the tokenizer: [`crate::tokenizer::Tokenizer::hash`].
    pub tokenizer_hash: String,
    /// Number of tokens in the vocabulary; every id is below it.
    pub vocabulary: u32,
    /// Number of tokens in all token shards.
    pub tokens: u64,
    /// Number of documents in all token shards.
    pub documents: u64,
    /// Size of a hashed block, in bytes: [`BLOCK_BYTES`].
    pub block_bytes: u64,
    /// The token shards, in order.
    pub shards: Vec<ShardEntry>,
}

/// Entry of a token shard in the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEntry {
    /// Name of the file, beside the index.
    #[serde(deserialize_with = "untrusted::file_name")]
    pub name: String,
    /// Number of tokens in the token shard.
    pub tokens: u64,
    /// Number of documents that begin in the token shard.
    pub documents: u64,
    /// Size of the file, in bytes.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Sha256Sum,
    /// SHA-256 of each block. Token files of other programs have none.
    pub block_sha256: Vec<Sha256Sum>,
}

impl Index {
    /// Parses an index and checks that it is consistent. `url` names it in errors.
    pub fn parse(url: &str, content: &[u8]) -> Result<Self, ShardError> {
        let refuse = |reason: String| ShardError::Index { url: url.to_owned(), reason };
        let index: Index = serde_json::from_slice(content).map_err(|e| refuse(e.to_string()))?;
        if index.version != INDEX_VERSION || index.block_bytes != BLOCK_BYTES {
            return Err(refuse(format!(
                "version {} with blocks of {} bytes, expected version {INDEX_VERSION} with {BLOCK_BYTES}",
                index.version, index.block_bytes
            )));
        }
        for shard in &index.shards {
            if !shard.fits() {
                return Err(refuse(format!(
                    "{}: {} tokens, {} bytes and {} block hashes do not fit together",
                    shard.name,
                    shard.tokens,
                    shard.bytes,
                    shard.block_sha256.len()
                )));
            }
        }
        let tokens = index.shards.iter().try_fold(0_u64, |sum, shard| sum.checked_add(shard.tokens));
        if tokens != Some(index.tokens) {
            let tokens = tokens.map_or("too many".into(), |tokens| tokens.to_string());
            return Err(refuse(format!("says {} tokens, its shards have {tokens}", index.tokens)));
        }
        Ok(index)
    }

    /// Returns the index as the bytes of `index.json`.
    pub fn to_json(&self) -> Bytes {
        let json = serde_json::to_vec_pretty(self).unwrap_or_else(|e| unreachable!("an index is JSON: {e}"));
        Bytes::from(json)
    }
}

impl ShardEntry {
    /// Describes the token shard `content`, as [`encode`](super::encode) made it. `end_of_text` marks where documents begin.
    pub fn describe(name: &str, content: &[u8], end_of_text: u16) -> Self {
        let tokens = &content[HEADER_BYTES as usize..];
        ShardEntry {
            name: name.to_owned(),
            tokens: tokens.len() as u64 / TOKEN_BYTES,
            documents: decode_tokens(tokens).filter(|t| *t == end_of_text).count() as u64,
            bytes: content.len() as u64,
            sha256: Sha256Sum::of(content),
            block_sha256: content.chunks(BLOCK_BYTES as usize).map(Sha256Sum::of).collect(),
        }
    }

    /// Returns whether the numbers of tokens, bytes and block hashes fit together.
    pub fn fits(&self) -> bool {
        let bytes = self.tokens.checked_mul(TOKEN_BYTES).and_then(|b| b.checked_add(HEADER_BYTES));
        bytes == Some(self.bytes) && self.block_sha256.len() as u64 == self.bytes.div_ceil(BLOCK_BYTES)
    }

    /// Returns the number of sequences of `sequence_tokens` in this token shard. Sequence i consists of the tokens from iT
    /// to iT+T inclusive, the last of which is only a target. No sequence crosses the end.
    pub fn sequences(&self, sequence_tokens: u64) -> u64 {
        self.tokens.saturating_sub(1) / sequence_tokens
    }

    /// Verifies the bytes of block `block` against its hash. `url` names the token shard in errors.
    pub fn verify_block(&self, url: &str, block: u64, content: &[u8]) -> Result<(), ShardError> {
        let (expected, got) = (self.block_sha256[block as usize], Sha256Sum::of(content));
        if got == expected {
            return Ok(());
        }
        Err(ShardError::Hash { url: url.to_owned(), block, expected, got })
    }

    /// Checks the header against the format and this entry. `url` names the token shard in errors.
    pub fn verify_header(&self, url: &str, header: &[u8]) -> Result<(), ShardError> {
        let word = |i: usize| header.get(4 * i..4 * i + 4).map_or(-1, |b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let tokens = i64::try_from(self.tokens).unwrap_or(i64::MAX);
        let words = [("magic", i64::from(MAGIC)), ("version", i64::from(VERSION)), ("token count", tokens)];
        for (i, (what, expected)) in words.into_iter().enumerate() {
            let got = i64::from(word(i));
            if got != expected {
                return Err(ShardError::Header { url: url.to_owned(), what, expected, got });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::encode;
    use super::*;

    fn index_of(tokens: &[u16]) -> (Bytes, Index) {
        let content = encode(tokens);
        let entry = ShardEntry::describe("shard-000000.bin", &content, 9);
        let index = Index {
            version: 1,
            tokenizer: "test".into(),
            tokenizer_hash: "00".into(),
            vocabulary: 10,
            tokens: entry.tokens,
            documents: entry.documents,
            block_bytes: BLOCK_BYTES,
            shards: vec![entry],
        };
        (content, index)
    }

    #[test]
    fn a_shard_reads_back_and_counts_its_documents() {
        let tokens: Vec<u16> = vec![9, 1, 2, 9, 3];
        let (content, index) = index_of(&tokens);
        assert_eq!(content.len(), 1024 + 10);
        assert_eq!(decode_tokens(&content[1024..]).collect::<Vec<_>>(), tokens);
        assert_eq!(index.documents, 2);
        let entry = &index.shards[0];
        entry.verify_header("x", &content[..1024]).unwrap();
        entry.verify_block("x", 0, &content).unwrap();
        assert_eq!((entry.sequences(4), entry.sequences(2), entry.sequences(5)), (1, 2, 0));
        assert_eq!(Index::parse("x", &index.to_json()).unwrap(), index);
    }

    #[test]
    fn damage_is_named() {
        let (content, index) = index_of(&[9, 1, 2]);
        let entry = &index.shards[0];
        let mut flipped = content.to_vec();
        flipped[1025] ^= 1;
        assert!(matches!(entry.verify_block("x", 0, &flipped), Err(ShardError::Hash { block: 0, .. })));
        flipped[0] ^= 1;
        let header = entry.verify_header("x", &flipped).unwrap_err().to_string();
        assert!(header.contains("magic is 20240521, expected 20240520"), "{header}");
        let mut wrong = index.clone();
        wrong.shards[0].tokens = 4;
        assert!(Index::parse("x", &wrong.to_json()).is_err());
    }

    #[test]
    fn long_shards_have_a_hash_for_every_block() {
        let (content, index) = index_of(&vec![1; BLOCK_BYTES as usize]);
        assert_eq!(index.shards[0].block_sha256.len(), content.len().div_ceil(BLOCK_BYTES as usize));
        index.shards[0].verify_block("x", 1, &content[BLOCK_BYTES as usize..2 * BLOCK_BYTES as usize]).unwrap();
    }
}
