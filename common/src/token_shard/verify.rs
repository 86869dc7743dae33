//! Checks everything that docs/token-shards.md says of a folder of token shards. Every fault is found, not only the first.
//!
//! Pure: the caller reads the objects. [`faults_of_index`] checks the index for consistency. A [`ShardCheck`] receives the
//! blocks of one token shard in order, and keeps none of them.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::format::{BLOCK_BYTES, HEADER_BYTES, MAGIC, TOKEN_BYTES, VERSION, decode_tokens};
use super::index::{INDEX_NAME, INDEX_VERSION, Index, ShardEntry};
use crate::sha256::Sha256Sum;
use crate::tokenizer::MOST_TOKENS;

/// A fault, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Name of a token shard in the index, or the index.
    pub object: String,
    /// Offset in the object, in bytes; `None` for a fault of the object as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Kind of fault.
    #[serde(flatten)]
    pub kind: FaultKind,
}

impl Fault {
    /// Returns a fault of an object as a whole.
    pub fn of(object: &str, kind: FaultKind) -> Self {
        Fault { object: object.to_owned(), offset: None, kind }
    }

    /// Returns a fault at a byte of an object.
    pub fn at(object: &str, offset: u64, kind: FaultKind) -> Self {
        Fault { object: object.to_owned(), offset: Some(offset), kind }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "{}, byte {offset}: {}", self.object, self.kind),
            None => write!(f, "{}: {}", self.object, self.kind),
        }
    }
}

/// Kind of fault, with the values concerned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum FaultKind {
    /// The object does not exist.
    #[error("does not exist")]
    Missing,
    /// The object exists and cannot be read.
    #[error("cannot be read: {reason}")]
    Unreadable {
        /// Error of the store.
        reason: String,
    },
    /// The index is not an index of this version. Its token shards are not checked.
    #[error("not an index of token shards: {reason}")]
    Index {
        /// What is wrong with the index.
        reason: String,
    },
    /// A total in the index is not the sum over its token shards.
    #[error("says {got} {what}, its shards have {expected}")]
    Total {
        /// Tokens or documents.
        what: &'static str,
        /// Sum over the token shards.
        expected: u64,
        /// Total in the index.
        got: u64,
    },
    /// Two token shards have one name.
    #[error("names {name} twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// The entry of a token shard in the index is inconsistent.
    #[error("{tokens} tokens, {bytes} bytes and {blocks} block hashes in the index do not fit together")]
    Entry {
        /// Number of tokens.
        tokens: u64,
        /// Number of bytes.
        bytes: u64,
        /// Number of block hashes.
        blocks: u64,
    },
    /// A token shard other than the last differs in length.
    #[error("{got} tokens, expected {expected}: all shards but the last have the same number, and it has no more")]
    Tokens {
        /// Number of tokens in the first token shard.
        expected: u64,
        /// Number of tokens in this one.
        got: u64,
    },
    /// The index names another tokenizer.
    #[error("made with a tokenizer of {what} {got}, and {tokenizer:?} has {expected}")]
    Tokenizer {
        /// Hash or vocabulary.
        what: &'static str,
        /// Name of the tokenizer to compare with.
        tokenizer: String,
        /// Value of that tokenizer.
        expected: String,
        /// Value in the index.
        got: String,
    },
    /// The token shard is longer or shorter than the index says.
    #[error("{got} bytes, expected {expected}")]
    Size {
        /// Size in the index, in bytes.
        expected: u64,
        /// Size of the object, in bytes.
        got: u64,
    },
    /// A word of the header is wrong.
    #[error("{what} is {got}, expected {expected}")]
    Header {
        /// Word of the header.
        what: &'static str,
        /// Value that the format or the index requires.
        expected: i64,
        /// Value in the object.
        got: i64,
    },
    /// A block does not match its hash.
    #[error("block {block} has SHA-256 {got}, expected {expected}")]
    BlockHash {
        /// Number of the block.
        block: u64,
        /// Hash in the index.
        expected: Sha256Sum,
        /// Hash of the object's block.
        got: Sha256Sum,
    },
    /// The whole file does not match its hash.
    #[error("the file has SHA-256 {got}, expected {expected}")]
    FileHash {
        /// Hash in the index.
        expected: Sha256Sum,
        /// Hash of the object.
        got: Sha256Sum,
    },
    /// A block has ids that are not in the vocabulary.
    #[error("ids of block {block} that are not below the vocabulary, {vocabulary}: {count}, the first, here, is {id}")]
    Ids {
        /// Number of the block.
        block: u64,
        /// Number of such ids.
        count: u64,
        /// The first such id.
        id: u16,
        /// Size of the vocabulary in the index.
        vocabulary: u32,
    },
    /// The number of documents that begin in the token shard differs from the index.
    #[error("documents that begin in it: {got}, expected {expected}")]
    Documents {
        /// Number in the index.
        expected: u64,
        /// Number of end-of-text tokens in the object.
        got: u64,
    },
    /// The first token of the data is not end-of-text.
    #[error("the first token is {got}, expected the end-of-text token {expected}")]
    FirstToken {
        /// The end-of-text token.
        expected: u16,
        /// First token of the object.
        got: u16,
    },
}

/// Parses an index regardless of its faults. Fails with the reason if it leaves nothing to check.
pub fn read_index(content: &[u8]) -> Result<Index, String> {
    let index: Index = serde_json::from_slice(content).map_err(|e| e.to_string())?;
    let Index { version, block_bytes, vocabulary, .. } = index;
    if version != INDEX_VERSION || block_bytes != BLOCK_BYTES {
        return Err(format!(
            "version {version} with blocks of {block_bytes} bytes, expected version {INDEX_VERSION} with {BLOCK_BYTES}"
        ));
    }
    if !(1..=MOST_TOKENS).contains(&(vocabulary as usize)) {
        return Err(format!("a vocabulary of {vocabulary}, expected 1 to {MOST_TOKENS}"));
    }
    Ok(index)
}

/// Returns all inconsistencies in `index`.
pub fn faults_of_index(index: &Index) -> Vec<Fault> {
    let mut faults = Vec::new();
    let sum = |of: fn(&ShardEntry) -> u64| index.shards.iter().map(of).fold(0, u64::saturating_add);
    for (what, got, expected) in
        [("tokens", index.tokens, sum(|s| s.tokens)), ("documents", index.documents, sum(|s| s.documents))]
    {
        if got != expected {
            faults.push(Fault::of(INDEX_NAME, FaultKind::Total { what, expected, got }));
        }
    }
    let mut names = std::collections::HashSet::new();
    let full = index.shards.first().map_or(0, |shard| shard.tokens);
    for (number, shard) in index.shards.iter().enumerate() {
        if !names.insert(&shard.name) {
            faults.push(Fault::of(INDEX_NAME, FaultKind::Twice { name: shard.name.clone() }));
        }
        if !shard.fits() {
            let blocks = shard.block_sha256.len() as u64;
            let kind = FaultKind::Entry { tokens: shard.tokens, bytes: shard.bytes, blocks };
            faults.push(Fault::of(&shard.name, kind));
        }
        let is_last = number + 1 == index.shards.len();
        if shard.tokens > full || (shard.tokens < full && !is_last) {
            faults.push(Fault::of(&shard.name, FaultKind::Tokens { expected: full, got: shard.tokens }));
        }
    }
    faults
}

/// What the tokens of a token shard are checked against.
#[derive(Debug, Clone, Copy)]
pub struct Ids {
    /// Size of the vocabulary; every id is below it.
    pub vocabulary: u32,
    /// Token before each document; `None` if the tokenizer is not known, so that documents cannot be counted.
    pub end_of_text: Option<u16>,
}

/// Check of one token shard, block by block.
pub struct ShardCheck<'i> {
    entry: &'i ShardEntry,
    ids: Ids,
    /// Whether the token shard is the first of its folder.
    is_first: bool,
    file: Sha256,
    bytes: u64,
    documents: u64,
    faults: Vec<Fault>,
}

impl<'i> ShardCheck<'i> {
    /// Returns a check of the token shard that `entry` describes. `is_first` says that it is the first of its folder.
    pub fn new(entry: &'i ShardEntry, ids: Ids, is_first: bool) -> Self {
        ShardCheck { entry, ids, is_first, file: Sha256::new(), bytes: 0, documents: 0, faults: Vec::new() }
    }

    /// Checks the next block: [`BLOCK_BYTES`] bytes, or the rest of the object.
    pub fn push(&mut self, block: &[u8]) {
        let (number, start) = (self.bytes / BLOCK_BYTES, self.bytes);
        self.file.update(block);
        self.bytes += block.len() as u64;
        if let Some(&expected) = self.entry.block_sha256.get(number as usize) {
            let got = Sha256Sum::of(block);
            if got != expected {
                self.fault(start, FaultKind::BlockHash { block: number, expected, got });
            }
        }
        if number > 0 {
            return self.look_at_tokens(block, number, start);
        }
        let (header, tokens) = block.split_at(block.len().min(HEADER_BYTES as usize));
        self.look_at_header(header);
        if let (true, Some(expected), Some(got)) = (self.is_first, self.ids.end_of_text, decode_tokens(tokens).next())
            && got != expected
        {
            self.fault(HEADER_BYTES, FaultKind::FirstToken { expected, got });
        }
        self.look_at_tokens(tokens, number, HEADER_BYTES);
    }

    /// Returns all faults of the token shard, once every block has been pushed.
    pub fn finish(mut self) -> Vec<Fault> {
        let (expected, got) = (self.entry.bytes, self.bytes);
        if got != expected {
            self.faults.push(Fault::of(&self.entry.name, FaultKind::Size { expected, got }));
        }
        let (expected, got) = (self.entry.sha256, Sha256Sum(self.file.finalize().into()));
        if got != expected {
            let kind = FaultKind::FileHash { expected, got };
            self.faults.push(Fault::of(&self.entry.name, kind));
        }
        let (expected, got) = (self.entry.documents, self.documents);
        if self.ids.end_of_text.is_some() && got != expected {
            self.faults.push(Fault::of(&self.entry.name, FaultKind::Documents { expected, got }));
        }
        self.faults
    }

    /// Checks every word of the header: magic, version, token count, and zeros, of which only the first wrong one is reported.
    fn look_at_header(&mut self, header: &[u8]) {
        let (words, _) = header.as_chunks::<4>();
        let tokens = i64::try_from(self.entry.tokens).unwrap_or(i64::MAX);
        let named = [("magic", i64::from(MAGIC)), ("version", i64::from(VERSION)), ("token count", tokens)];
        let mut expected = named.into_iter().chain(std::iter::repeat(("reserved word", 0)));
        for (word, offset) in words.iter().zip((0..).step_by(4)) {
            let (what, expected) = expected.next().unwrap_or_default();
            let got = i64::from(i32::from_le_bytes(*word));
            if got != expected {
                self.fault(offset, FaultKind::Header { what, expected, got });
                if offset >= 12 {
                    return;
                }
            }
        }
    }

    fn look_at_tokens(&mut self, tokens: &[u8], block: u64, start: u64) {
        let Ids { vocabulary, end_of_text } = self.ids;
        let mut unknown = None;
        let mut count = 0;
        for (id, position) in decode_tokens(tokens).zip(0_u64..) {
            self.documents += u64::from(Some(id) == end_of_text);
            if u32::from(id) >= vocabulary {
                unknown = unknown.or(Some((id, start + TOKEN_BYTES * position)));
                count += 1;
            }
        }
        if let Some((id, offset)) = unknown {
            self.fault(offset, FaultKind::Ids { block, count, id, vocabulary });
        }
    }

    fn fault(&mut self, offset: u64, kind: FaultKind) {
        self.faults.push(Fault::at(&self.entry.name, offset, kind));
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use super::*;

    const IDS: Ids = Ids { vocabulary: 10, end_of_text: Some(9) };

    fn faults(content: &[u8], entry: &ShardEntry, is_first: bool) -> Vec<String> {
        let mut check = ShardCheck::new(entry, IDS, is_first);
        content.chunks(BLOCK_BYTES as usize).for_each(|block| check.push(block));
        check.finish().iter().map(ToString::to_string).collect()
    }

    /// Returns a token shard of two blocks and a little more.
    fn shard() -> (Vec<u8>, ShardEntry) {
        let tokens: Vec<u16> = (0..=BLOCK_BYTES).map(|i| if i % 100 == 0 { 9 } else { 1 }).collect();
        let content = encode(&tokens);
        let entry = ShardEntry::describe("s", &content, 9);
        (content.to_vec(), entry)
    }

    /// Checks that the faults begin with these texts, one by one.
    fn check(got: &[String], expected: &[&str]) {
        assert_eq!(got.len(), expected.len(), "{got:#?}");
        for (got, expected) in got.iter().zip(expected) {
            assert!(got.starts_with(expected), "{got} should begin {expected}");
        }
    }

    #[test]
    fn a_good_shard_has_no_fault() {
        let (content, entry) = shard();
        check(&faults(&content, &entry, true), &[]);
        check(&faults(&content, &entry, false), &[]);
    }

    #[test]
    fn every_fault_of_a_shard_is_found_and_placed() {
        let (good, entry) = shard();
        let mut content = good.clone();
        content[1] ^= 1;
        content[8] ^= 1;
        content[100] = 7;
        content[104] = 7;
        content[1024] = 3;
        content[2048] = 200;
        content[2052] = 201;
        content[(BLOCK_BYTES + 1) as usize] = 1;
        content.pop();
        check(
            &faults(&content, &entry, true),
            &[
                "s, byte 0: block 0 has SHA-256 ",
                "s, byte 0: magic is 20240776, expected 20240520",
                "s, byte 8: token count is 1048576, expected 1048577",
                "s, byte 100: reserved word is 7, expected 0",
                "s, byte 1024: the first token is 3, expected the end-of-text token 9",
                "s, byte 2048: ids of block 0 that are not below the vocabulary, 10: 2, the first, here, is 200",
                "s, byte 1048576: block 1 has SHA-256 ",
                "s, byte 1048576: ids of block 1 that are not below the vocabulary, 10: 1, the first, here, is 257",
                "s, byte 2097152: block 2 has SHA-256 ",
                "s: 2098177 bytes, expected 2098178",
                "s: the file has SHA-256 ",
                "s: documents that begin in it: 10485, expected 10486",
            ],
        );
        check(
            &faults(&[], &entry, true),
            &["s: 0 bytes", "s: the file has SHA-256 ", "s: documents that begin in it: 0, "],
        );
        check(
            &faults(&[1; 1001], &entry, true).split_off(5),
            &["s: 1001 bytes", "s: the file", "s: documents that begin in it: 0, "],
        );
        let longer = [&good[..], &[0; 2]].concat();
        check(&faults(&longer, &entry, true), &["s, byte 2097152: block 2", "s: 2098180 bytes", "s: the file"]);
    }

    #[test]
    fn every_fault_of_an_index_is_found() {
        let entry = |name: &str, tokens: u16| ShardEntry::describe(name, &encode(&vec![9; usize::from(tokens)]), 9);
        let index = |shards: Vec<ShardEntry>| Index {
            version: 1,
            tokenizer: "test".into(),
            tokenizer_hash: "00".into(),
            vocabulary: 10,
            tokens: shards.iter().map(|s| s.tokens).sum(),
            documents: shards.iter().map(|s| s.documents).sum(),
            block_bytes: BLOCK_BYTES,
            shards,
        };
        let found = |index: &Index| -> Vec<String> { faults_of_index(index).iter().map(ToString::to_string).collect() };
        let good = index(vec![entry("a", 5), entry("b", 5), entry("c", 2)]);
        check(&found(&good), &[]);
        assert_eq!(read_index(&good.to_json()), Ok(good.clone()));

        let mut bad = index(vec![entry("a", 5), entry("b", 4), entry("a", 6)]);
        bad.tokens = 1;
        bad.documents = 2;
        bad.shards[1].bytes = 7;
        check(
            &found(&bad),
            &[
                "index.json: says 1 tokens, its shards have 15",
                "index.json: says 2 documents, its shards have 15",
                "b: 4 tokens, 7 bytes and 1 block hashes in the index do not fit together",
                "b: 4 tokens, expected 5",
                "index.json: names a twice",
                "a: 6 tokens, expected 5",
            ],
        );
        let refused = |index: Index| read_index(&index.to_json()).unwrap_err();
        assert!(refused(Index { version: 2, ..good.clone() }).contains("version 2 with blocks of 1048576 bytes"));
        assert!(refused(Index { vocabulary: 65_537, ..good }).contains("a vocabulary of 65537"));
        assert!(read_index(b"{}").unwrap_err().starts_with("missing field `version`"));
    }
}
