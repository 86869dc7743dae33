//! Token files of other programs, which have no `index.json`: it is made up from what the files say.
//!
//! - llm.c: files in the layout of Convoy's own shards, `*.bin`, known by their first bytes.
//! - Megatron: a `NAME.bin` of u16 or i32 tokens, with a `NAME.idx` beside it that says which, and where sequences begin.
//! - nanoGPT: a `.bin` of u16 tokens and nothing else: any other file.
//!
//! A data set is one such file by its URL, or a folder of them. Nothing says with which tokenizer they were made, so the config
//! is believed; and there are no hashes, so only ids beyond the vocabulary are found.

use bytes::Bytes;
use common::sha256::Sha256Sum;
use common::storage::{Folder, ObjectInfo, StorageError};
use common::token_shard::{BLOCK_BYTES, HEADER_BYTES, Index, MAGIC, ShardEntry, TOKEN_BYTES, decode_tokens};
use common::tokenizer::Tokenizer;
use common::untrusted::check_file_name;

use super::DataError;

/// How token files of other programs end.
pub(super) const FILE_END: &str = ".bin";

/// Where tokens are in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// The first byte of the first token.
    pub first_byte: u64,
    /// Bytes of a token, 2 or 4.
    pub token_bytes: u64,
    /// Whether it begins with the header of a token shard.
    pub has_header: bool,
}

impl Layout {
    /// Of Convoy and llm.c.
    pub const SHARD: Layout = Layout { first_byte: HEADER_BYTES, token_bytes: TOKEN_BYTES, has_header: true };
    /// The tokens in `content`, which starts at one.
    pub fn tokens(self, content: &[u8]) -> impl Iterator<Item = i32> + '_ {
        let wide = self.token_bytes == 4;
        content.chunks_exact(self.token_bytes as usize).map(move |bytes| match wide {
            true => i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            false => i32::from(u16::from_le_bytes([bytes[0], bytes[1]])),
        })
    }

    /// Whether all tokens in `content`, which starts at one, are ids of a vocabulary of this size.
    pub fn are_below(self, vocabulary: u32, content: &[u8]) -> bool {
        let last = vocabulary.saturating_sub(1);
        if self.token_bytes == TOKEN_BYTES {
            // What exceeds the last id, of all tokens together: operations that every processor has for many at once.
            let last = u16::try_from(last).unwrap_or(u16::MAX);
            return vocabulary > 0 && decode_tokens(content).fold(0, |excess, t| excess | t.saturating_sub(last)) == 0;
        }
        // A token below 0 is one of the highest as u32.
        self.tokens(content).all(|token| (token as u32) < vocabulary)
    }

    const NANOGPT: Layout = Layout { first_byte: 0, token_bytes: 2, has_header: false };
}

/// What Megatron's index begins with: its magic, and version 1 as u64.
const MEGATRON_START: &[u8] = b"MMIDIDX\0\0\x01\0\0\0\0\0\0\0";
/// After that: the code of the type of tokens, and the number of sequences as u64.
const MEGATRON_HEADER_BYTES: u64 = MEGATRON_START.len() as u64 + 1 + 8;
const MEGATRON_TYPES: [(u8, u64); 2] = [(4, 4), (8, 2)];

/// The folder of the token files that `url` names, what an index of it would say, and their layout; `None` where there
/// are none.
pub(super) fn index(
    folder: &Folder,
    name: &str,
    tokenizer: &Tokenizer,
) -> Result<Option<(Folder, Index, Layout)>, DataError> {
    let (folder, files) = files(folder)?;
    // Convoy's own shards have an index; without it they are not finished.
    let is_convoys = |file: &ObjectInfo| file.name.starts_with("shard-");
    let Some(first) = files.first().filter(|_| !files.iter().any(is_convoys)) else { return Ok(None) };
    let layout = layout(&folder, first)?;
    let shards: Vec<_> = files
        .iter()
        .map(|file| {
            let tokens = file.bytes.saturating_sub(layout.first_byte) / layout.token_bytes;
            check(&folder, file, layout, tokens)?;
            Ok(ShardEntry {
                name: file.name.clone(),
                tokens,
                documents: 0,
                bytes: file.bytes,
                sha256: Sha256Sum::UNKNOWN,
                block_sha256: Vec::new(),
            })
        })
        .collect::<Result<_, DataError>>()?;
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
    Ok(Some((folder, index, layout)))
}

/// The `.bin` files that a URL names: one by its own name, or those directly in a folder.
fn files(folder: &Folder) -> Result<(Folder, Vec<ObjectInfo>), StorageError> {
    if folder.url().ends_with(FILE_END)
        && let Some((parent, name)) = folder.parent()
    {
        let info = parent.info(&name)?;
        return Ok((parent, vec![info]));
    }
    let is_file = |object: &ObjectInfo| object.name.ends_with(FILE_END) && check_file_name(&object.name).is_ok();
    Ok((folder.clone(), folder.list()?.into_iter().filter(is_file).collect()))
}

fn layout(folder: &Folder, file: &ObjectInfo) -> Result<Layout, DataError> {
    let index = file.name.strip_suffix(FILE_END).map(|name| format!("{name}.idx"));
    if let Some(index) = index
        && let Some(start) = start_of(folder, &index, MEGATRON_HEADER_BYTES)?
    {
        let refuse = |reason: String| DataError::Foreign { url: folder.url_of(&index), reason };
        let code = start
            .strip_prefix(MEGATRON_START)
            .and_then(|rest| rest.first())
            .ok_or_else(|| refuse("not an index of Megatron's, version 1".into()))?;
        let width = MEGATRON_TYPES.iter().find(|(known, _)| known == code);
        let (_, token_bytes) =
            width.ok_or_else(|| refuse(format!("tokens of type {code}, neither u16 (8) nor i32 (4)")))?;
        return Ok(Layout { first_byte: 0, token_bytes: *token_bytes, has_header: false });
    }
    let start = start_of(folder, &file.name, 4)?.unwrap_or_default();
    Ok(if start[..] == MAGIC.to_le_bytes() { Layout::SHARD } else { Layout::NANOGPT })
}

/// The first bytes of an object, as many as there are; `None` where there is no such object.
fn start_of(folder: &Folder, name: &str, bytes: u64) -> Result<Option<Bytes>, StorageError> {
    let size = match folder.size(name) {
        Ok(size) => size,
        Err(StorageError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    if size == 0 { Ok(Some(Bytes::new())) } else { folder.get_range(name, 0..bytes.min(size)).map(Some) }
}

/// Every file must be as the first one is.
fn check(folder: &Folder, file: &ObjectInfo, layout: Layout, tokens: u64) -> Result<(), DataError> {
    let refuse = |reason: &str| Err(DataError::Foreign { url: folder.url_of(&file.name), reason: reason.to_owned() });
    if file.bytes < layout.first_byte || layout.first_byte + tokens * layout.token_bytes != file.bytes {
        return refuse("its size is not that of whole tokens: truncated?");
    }
    let start = start_of(folder, &file.name, 12)?.unwrap_or_default();
    let word = |i: usize| start.get(4 * i..4 * i + 4).map_or(-1, |b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    match (layout.has_header, word(0) == MAGIC) {
        (true, false) => {
            refuse("no header of llm.c, which the first file of the folder has; keep one kind in a folder")
        }
        (false, true) => {
            refuse("a header of llm.c, which the first file of the folder has not; keep one kind in a folder")
        }
        (true, true) if i64::from(word(2)) != tokens as i64 => refuse("its header counts other tokens than it has"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use common::config::{DataSource, StorageConfig};
    use common::token_shard::encode;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::super::DataSet;
    use super::super::fixture::Fixture;
    use super::*;
    use crate::hostile::{changed, changes};

    fn folder(name: &str) -> Folder {
        Folder::open(&format!("memory://foreign-{name}"), &StorageConfig::default()).unwrap()
    }

    fn open(url: &str) -> Result<DataSet, DataError> {
        let source = DataSource { url: url.to_owned(), weight: 1.0 };
        DataSet::open(&source, &Fixture::config(url), &StorageConfig::default(), 8)
    }

    /// All sequences of 8, of tokens that count up from 0.
    fn counts(set: &DataSet, sequences: u64) {
        assert_eq!(set.sequences(), sequences);
        for (row, first) in set.read(&(0..sequences).collect::<Vec<_>>()).unwrap().chunks(9).zip((0..).step_by(8)) {
            assert!(row.iter().copied().eq(first..first + 9), "{row:?} should start at {first}");
        }
    }

    fn narrow(tokens: std::ops::Range<u16>) -> Vec<u8> {
        tokens.flat_map(u16::to_le_bytes).collect()
    }

    fn megatron_index(code: u8) -> Vec<u8> {
        [MEGATRON_START, &[code], &1_u64.to_le_bytes(), &[0; 28]].concat()
    }

    #[test]
    fn shards_of_llm_c_are_read_without_an_index() {
        let folder = folder("llm.c");
        folder.put("b.bin", encode(&(24..50).collect::<Vec<_>>())).unwrap();
        folder.put("a.bin", encode(&(0..25).collect::<Vec<_>>())).unwrap();
        folder.put("notes.txt", Bytes::from_static(b"x")).unwrap();
        counts(&open(folder.url()).unwrap(), 3 + 3);
        counts(&open(&folder.url_of("a.bin")).unwrap(), 3);
        folder.put("c.bin", narrow(0..600).into()).unwrap();
        let error = open(folder.url()).unwrap_err().to_string();
        assert!(error.contains("c.bin: no header of llm.c"), "{error}");
        folder.put("c.bin", encode(&[1, 2, 3]).slice(..1028)).unwrap();
        let error = open(folder.url()).unwrap_err().to_string();
        assert!(error.contains("c.bin: its header counts other tokens"), "{error}");
    }

    #[test]
    fn a_file_of_nanogpt_is_tokens_and_nothing_else() {
        let folder = folder("nanogpt");
        folder.put("train.bin", narrow(0..1000).into()).unwrap();
        for url in [folder.url().to_owned(), folder.url_of("train.bin")] {
            counts(&open(&url).unwrap(), 124);
        }
        folder.put("train.bin", vec![0; 51].into()).unwrap();
        assert!(open(folder.url()).unwrap_err().to_string().contains("not that of whole tokens"));
        folder.put("train.bin", narrow(50_250..50_260).into()).unwrap();
        let error = open(folder.url()).unwrap().read(&[0]).unwrap_err().to_string();
        assert!(error.contains("token 7 of the shard is 50257"), "{error}");
    }

    #[test]
    fn pairs_of_megatron_are_read_in_either_width() {
        let folder = folder("megatron");
        folder.put("x.idx", megatron_index(8).into()).unwrap();
        folder.put("x.bin", narrow(0..1000).into()).unwrap();
        counts(&open(folder.url()).unwrap(), 124);
        folder.put("x.idx", megatron_index(4).into()).unwrap();
        folder.put("x.bin", (0..1000_i32).flat_map(i32::to_le_bytes).collect::<Vec<_>>().into()).unwrap();
        counts(&open(&folder.url_of("x.bin")).unwrap(), 124);
        folder.put("x.bin", [-1_i32; 9].iter().flat_map(|t| t.to_le_bytes()).collect::<Vec<_>>().into()).unwrap();
        let error = open(folder.url()).unwrap().read(&[0]).unwrap_err().to_string();
        assert!(error.contains("token 0 of the shard is -1"), "{error}");
        folder.put("x.idx", megatron_index(5).into()).unwrap();
        assert!(open(folder.url()).unwrap_err().to_string().contains("tokens of type 5, neither u16 (8) nor i32 (4)"));
        folder.put("x.idx", Bytes::from_static(b"nothing")).unwrap();
        assert!(open(folder.url()).unwrap_err().to_string().contains("not an index of Megatron's"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_token_files_hold_ids_are_tokens_or_it_is_refused(
            kind in 0..3_usize, which: Index, changes in changes()
        ) {
            let folder = folder(&format!("hostile-{kind}"));
            let wide = (0..1000_i32).flat_map(i32::to_le_bytes).collect();
            let mut files = match kind {
                0 => vec![("a.bin", encode(&(0..1000).collect::<Vec<_>>()).to_vec())],
                1 => vec![("a.bin", narrow(0..1000)), ("b.bin", narrow(0..100))],
                _ => vec![("x.idx", megatron_index(4)), ("x.bin", wide)],
            };
            let which = which.index(files.len());
            let (_, content) = &mut files[which];
            *content = changed(content, &changes);
            files.into_iter().for_each(|(name, content)| folder.put(name, content.into()).unwrap());
            let Ok(set) = open(folder.url()) else { return Ok(()) };
            if let Ok(ids) = set.read(&(0..set.sequences()).collect::<Vec<_>>()) {
                prop_assert!(ids.iter().all(|id| (0..50_257).contains(id)));
            }
        }
    }

    /// A pair that Megatron's own tools wrote.
    #[test]
    fn a_real_pair_of_megatron_is_read() {
        let given = std::env::var_os("CONVOY_CORPORA").map(std::path::PathBuf::from);
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora");
        let file = given.unwrap_or(here).join("openwebtext1000/meg-gpt2-openwebtext_text_document.bin");
        if !file.exists() {
            println!("skipped: no {}; CONVOY_CORPORA names another folder of corpora", file.display());
            return;
        }
        let set = open(&file.display().to_string()).unwrap();
        assert_eq!(set.tokens(), file.metadata().unwrap().len() / 2);
        let ids = set.read(&[0]).unwrap();
        assert!(ids.iter().all(|id| (0..50_257).contains(id)), "{ids:?}");
    }
}
