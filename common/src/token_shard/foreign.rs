//! Token files of other programs, which have no `index.json`: an index is made from what the files contain.
//!
//! - llm.c: files in the layout of Convoy's own token shards, `*.bin`, recognised by their first bytes.
//! - Megatron: a `NAME.bin` of u16 or i32 tokens, with a `NAME.idx` beside it that gives the type and where sequences begin.
//! - nanoGPT: a `.bin` of u16 tokens and nothing else, which is how any other file is read.
//!
//! A data set is one such file by its URL, all files that match a pattern, or a folder of them. A folder with files for
//! validation beside files for training is refused, since the config has to say which are meant. The files do not name their
//! tokenizer, so the config is believed. They have no hashes, so only ids beyond the vocabulary are found.

use std::collections::HashSet;

use bytes::Bytes;

use super::error::DataSetError;
use super::format::{BLOCK_BYTES, MAGIC};
use super::index::{Index, ShardEntry};
use super::layout::Layout;
use crate::figures::counted;
use crate::sha256::Sha256Sum;
use crate::storage::{Folder, ObjectInfo, StorageError, Wanted};
use crate::threads;
use crate::tokenizer::Tokenizer;

/// Suffix of token files of other programs.
pub(super) const FILE_END: &str = ".bin";
/// Suffix of Megatron's files beside them.
const INDEX_END: &str = ".idx";

/// Beginning of Megatron's index: its magic, and version 1 as u64.
const MEGATRON_START: &[u8] = b"MMIDIDX\0\0\x01\0\0\0\0\0\0\0";
/// Size of Megatron's header, in bytes: the magic and version, the code of the token type, and the numbers of sequences and
/// of documents as u64.
const MEGATRON_HEADER_BYTES: u64 = MEGATRON_START.len() as u64 + 1 + 8 + 8;
/// Types that can hold ids: their codes, and their widths in bytes.
const MEGATRON_TYPES: [(u8, u64); 2] = [(4, 4), (8, 2)];

/// Words in names of files that must not be trained on.
const HELD_OUT: [&str; 9] = ["val", "valid", "validation", "dev", "eval", "evaluation", "test", "heldout", "holdout"];

/// Program that a token file is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    LlmC,
    Megatron,
    NanoGpt,
}

impl Kind {
    fn in_words(self) -> &'static str {
        match self {
            Kind::LlmC => "a header of llm.c",
            Kind::Megatron => "an index of Megatron's (.idx) beside it",
            Kind::NanoGpt => "neither a header of llm.c nor an index of Megatron's (.idx) beside it",
        }
    }
}

/// Token files that were found.
struct Files {
    folder: Folder,
    list: Vec<ObjectInfo>,
    /// Names of the files beside them, if the folder was listed.
    beside: Option<HashSet<String>>,
}

/// Returns the folder of the token files that are `wanted`, an index of them, and the layout of each, or `None` if there are
/// none.
pub(super) fn index(
    wanted: &Wanted,
    name: &str,
    tokenizer: &Tokenizer,
) -> Result<Option<(Folder, Index, Vec<Layout>)>, DataSetError> {
    let files = Files::find(wanted)?;
    // Convoy's own token shards have an index; without one they are unfinished.
    let is_convoys = |file: &ObjectInfo| file.name.rsplit('/').next().is_some_and(|name| name.starts_with("shard-"));
    if files.list.is_empty() || files.list.iter().any(is_convoys) {
        return Ok(None);
    }
    let looked = threads::map(&files.list, files.folder.concurrency(), |file| files.look_at(file));
    let looked = looked.into_iter().collect::<Result<Vec<_>, _>>()?;
    if let Some((file, (kind, _))) = files.list.iter().zip(&looked).find(|(_, (kind, _))| *kind != looked[0].0) {
        let (got, first, expected) = (kind.in_words(), &files.list[0].name, looked[0].0.in_words());
        let reason =
            format!("it has {got}, and {first} has {expected}; keep files of one kind in a folder, or give a pattern");
        return Err(files.refuse(&file.name, reason));
    }
    let shard = |(file, (_, layout)): (&ObjectInfo, &(Kind, Layout))| ShardEntry {
        name: file.name.clone(),
        tokens: (file.bytes - layout.first_byte) / layout.token_bytes,
        documents: 0,
        bytes: file.bytes,
        sha256: Sha256Sum::UNKNOWN,
        block_sha256: Vec::new(),
    };
    let shards: Vec<_> = files.list.iter().zip(&looked).map(shard).collect();
    let index = Index {
        version: 1,
        tokenizer: name.to_owned(),
        tokenizer_hash: tokenizer.hash().to_owned(),
        vocabulary: tokenizer.size(),
        tokens: shards.iter().map(|shard| shard.tokens).sum(),
        documents: 0,
        block_bytes: BLOCK_BYTES,
        shards,
    };
    Ok(Some((files.folder, index, looked.into_iter().map(|(_, layout)| layout).collect())))
}

impl Files {
    /// Finds the files that are meant: one by its own name, those that match a pattern, or those directly in a folder.
    fn find(wanted: &Wanted) -> Result<Self, DataSetError> {
        let folder = wanted.folder().clone();
        if wanted.pattern().is_some() {
            let list = wanted.find(|name| name.ends_with(FILE_END))?.objects;
            return Ok(Files { folder, list, beside: None });
        }
        if folder.url().ends_with(FILE_END)
            && let Some((parent, name)) = folder.parent()
        {
            let list = vec![parent.info(&name)?];
            return Ok(Files { folder: parent, list, beside: None });
        }
        let listed = match folder.list_in(&|_| false) {
            // The server only gives objects by name.
            Err(StorageError::Unlisted { .. }) => Vec::new(),
            listed => listed?,
        };
        let directly: Vec<_> = listed.into_iter().filter(|object| !object.name.contains('/')).collect();
        let beside = directly.iter().map(|object| object.name.clone()).collect();
        let list = directly.into_iter().filter(|object| object.name.ends_with(FILE_END)).collect();
        let files = Files { folder, list, beside: Some(beside) };
        files.refuse_held_out()?;
        Ok(files)
    }

    /// Fails if files for validation lie among others, such as `val.bin` beside `train.bin`.
    fn refuse_held_out(&self) -> Result<(), DataSetError> {
        let (held_out, others): (Vec<_>, Vec<_>) = self.list.iter().partition(|file| is_held_out(&file.name));
        let (Some(held_out), Some(other)) = (held_out.first(), others.first()) else { return Ok(()) };
        let pattern = self.folder.url_of("*train*.bin");
        let reason = format!(
            "it lies beside {}, and seems not to be meant for the same; name the files that are, one by one or by a pattern such \
             as {pattern:?}",
            other.name
        );
        Err(self.refuse(&held_out.name, reason))
    }

    /// Determines the program that wrote a file, and the layout of its tokens.
    fn look_at(&self, file: &ObjectInfo) -> Result<(Kind, Layout), DataSetError> {
        let start = self.range(&file.name, 0..file.bytes.min(12))?;
        let has_header = word(&start, 0) == MAGIC;
        let index = file.name.strip_suffix(FILE_END).map(|name| format!("{name}{INDEX_END}")).unwrap_or_default();
        if let Some(bytes) = self.size_beside(&index, has_header)? {
            let token_bytes = self.look_at_pair(file, &index, bytes)?;
            return Ok((Kind::Megatron, Layout { first_byte: 0, token_bytes, has_header: false }));
        }
        let (kind, layout) = if has_header { (Kind::LlmC, Layout::SHARD) } else { (Kind::NanoGpt, Layout::NANOGPT) };
        let tokens = file.bytes.saturating_sub(layout.first_byte) / layout.token_bytes;
        if layout.first_byte + tokens * layout.token_bytes != file.bytes {
            return Err(self.refuse(&file.name, "its size is not that of whole tokens: truncated?".into()));
        }
        if has_header && i64::from(word(&start, 2)) != tokens as i64 {
            return Err(self.refuse(&file.name, "its header counts other tokens than it has".into()));
        }
        Ok((kind, layout))
    }

    /// Returns the size of Megatron's index, if there is one. If asking costs a request, a file with a header is taken to
    /// have none.
    fn size_beside(&self, index: &str, has_header: bool) -> Result<Option<u64>, StorageError> {
        let may_be_there = self.beside.as_ref().map_or(!has_header, |names| names.contains(index));
        match may_be_there.then(|| self.folder.size(index)) {
            None | Some(Err(StorageError::NotFound { .. })) => Ok(None),
            Some(size) => size.map(Some),
        }
    }

    /// Returns the width of the tokens in `file` in bytes. The file must end where `index`, of `bytes` bytes, says that its
    /// last sequence does.
    fn look_at_pair(&self, file: &ObjectInfo, index: &str, bytes: u64) -> Result<u64, DataSetError> {
        let refuse = |reason: String| self.refuse(index, reason);
        let head = self.range(index, 0..bytes.min(MEGATRON_HEADER_BYTES))?;
        let rest = head.strip_prefix(MEGATRON_START).filter(|_| head.len() as u64 == MEGATRON_HEADER_BYTES);
        let Some([code, counts @ ..]) = rest else {
            return Err(refuse("not an index of Megatron's, version 1".into()));
        };
        let width = MEGATRON_TYPES.iter().find(|(known, _)| known == code).map(|(_, width)| *width);
        let width = width.ok_or_else(|| refuse(format!("tokens of type {code}, neither u16 (8) nor i32 (4)")))?;
        let (sequences, documents) = (number(counts, 0), number(counts, 8));
        // An i32 length and an i64 offset per sequence, and an i64 per document.
        let all = sequences.checked_mul(12).zip(documents.checked_mul(8)).and_then(|(s, d)| s.checked_add(d));
        if all.and_then(|all| all.checked_add(MEGATRON_HEADER_BYTES)).is_none_or(|least| least > bytes) {
            let (sequences, documents) = (counted(sequences, "sequence"), counted(documents, "document"));
            let reason =
                format!("it has {}, too few for {sequences} and {documents}: truncated", counted(bytes, "byte"));
            return Err(refuse(reason));
        }
        let mut expected = Some(0);
        if sequences > 0 {
            let lengths_end = MEGATRON_HEADER_BYTES + 4 * sequences;
            let places_end = lengths_end + 8 * sequences;
            let length = u64::try_from(word(&self.range(index, lengths_end - 4..lengths_end)?, 0)).ok();
            let place = number(&self.range(index, places_end - 8..places_end)?, 0);
            expected = length.and_then(|length| length.checked_mul(width)?.checked_add(place));
        }
        if expected != Some(file.bytes) {
            let expected = expected.map_or("more than any file has".into(), |bytes| format!("{bytes} bytes"));
            let reason = format!(
                "it has {} bytes, and {index} beside it says {expected}: truncated, or not its index",
                file.bytes
            );
            return Err(self.refuse(&file.name, reason));
        }
        Ok(width)
    }

    fn range(&self, name: &str, range: std::ops::Range<u64>) -> Result<Bytes, StorageError> {
        if range.is_empty() { Ok(Bytes::new()) } else { self.folder.get_range(name, range) }
    }

    fn refuse(&self, name: &str, reason: String) -> DataSetError {
        DataSetError::Foreign { url: self.folder.url_of(name), reason }
    }
}

/// Returns whether a word of `name` says that the file must not be trained on.
fn is_held_out(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.split(|c: char| !c.is_ascii_alphabetic()).any(|word| HELD_OUT.contains(&word))
}

/// Returns the i-th word of 4 bytes as a signed number, or -1 if there is none.
fn word(bytes: &[u8], i: usize) -> i32 {
    bytes.get(4 * i..4 * i + 4).map_or(-1, |b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

/// Returns the 8 bytes from `at` on as a number, or the highest number if there are fewer.
fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(u64::MAX, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_not_to_be_trained_on() {
        for name in ["val.bin", "fineweb_val_000000.bin", "web-VALID.bin", "test_text_document.bin", "val2.bin"] {
            assert!(is_held_out(name), "{name}");
        }
        for name in ["train.bin", "latest.bin", "fineweb_000001.bin", "evaluated.bin", "interval.bin"] {
            assert!(!is_held_out(name), "{name}");
        }
    }
}
