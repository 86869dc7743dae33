//! Opens a data set: turns what `data.train` and `data.validation` name into a folder, its index, and the layout of its
//! files. `launcher check` and the ranks both use only this, so that they accept the same data.

use super::error::{DataSetError, TokenizerIdentity};
use super::foreign;
use super::index::{INDEX_NAME, Index};
use super::layout::Layout;
use crate::config::StorageConfig;
use crate::secrets::without_secrets;
use crate::storage::{Folder, StorageError, Wanted};
use crate::tokenizer::Tokenizer;

/// Folder of training shards that prepare writes into its output.
const TRAIN: &str = "train";
/// Folders that prepare writes into its output.
const PREPARED: [&str; 2] = [TRAIN, "validation"];
/// Folder that exists while prepare works.
const PREPARE_WORK: &str = "prepare-work";

/// A data set that can be read.
#[derive(Debug)]
pub struct DataSetIndex {
    /// Folder of the token shards.
    pub folder: Folder,
    /// Contents of the token shards.
    pub index: Index,
    /// Layout of each token file; empty for Convoy's own token shards, which have one layout.
    layouts: Vec<Layout>,
}

impl DataSetIndex {
    /// Returns the data set of Convoy's own token shards in `folder`.
    pub fn new(folder: Folder, index: Index) -> Self {
        DataSetIndex { folder, index, layouts: Vec::new() }
    }

    /// Opens the data set that `words` name, for sequences of `sequence_tokens`. It must have been made with `tokenizer`,
    /// which the config calls `name`. Of the token shards, only the beginnings of token files of other programs are read.
    pub fn open(
        words: &str,
        (name, tokenizer): (&str, &Tokenizer),
        storage: &StorageConfig,
        sequence_tokens: u64,
    ) -> Result<Self, DataSetError> {
        let wanted = match Wanted::open(words, storage)? {
            // A folder may have any name, and no folder is found by a pattern.
            wanted if wanted.pattern().is_some_and(|text| !text.ends_with(foreign::FILE_END)) => {
                Wanted::exactly(words, storage)?
            }
            wanted => wanted,
        };
        let name = &*without_secrets(name);
        let set = match read_index(&wanted)? {
            Some(index) => DataSetIndex::new(wanted.folder().clone(), index),
            None => match foreign::index(&wanted, name, tokenizer)? {
                Some((folder, index, layouts)) => DataSetIndex { folder, index, layouts },
                None if wanted.pattern().is_some() => {
                    let reason =
                        "no token files of other programs (.bin) match; Convoy's own are named by their folder";
                    return Err(DataSetError::Foreign { url: wanted.words().to_owned(), reason: reason.into() });
                }
                None => return Err(no_index(wanted.folder())?),
            },
        };
        check_tokenizer(&set, tokenizer, name)?;
        if set.sequences(sequence_tokens) == 0 {
            let (url, tokens) = (set.folder.url().to_owned(), set.index.tokens);
            return Err(DataSetError::TooShort { url, tokens, sequence_tokens });
        }
        Ok(set)
    }

    /// Returns whether the data set consists of token files of other programs.
    pub fn is_foreign(&self) -> bool {
        !self.layouts.is_empty()
    }

    /// Returns the layout of token shard number `shard`.
    pub fn layout(&self, shard: usize) -> Layout {
        self.layouts.get(shard).copied().unwrap_or(Layout::SHARD)
    }

    /// Returns the number of sequences of `sequence_tokens` in all token shards.
    pub fn sequences(&self, sequence_tokens: u64) -> u64 {
        self.index.shards.iter().map(|shard| shard.sequences(sequence_tokens)).sum()
    }
}

/// Returns the index of what is wanted, if it has one.
fn read_index(wanted: &Wanted) -> Result<Option<Index>, DataSetError> {
    let folder = wanted.folder();
    if wanted.pattern().is_some() || folder.url().ends_with(foreign::FILE_END) {
        return Ok(None);
    }
    let url = folder.url_of(INDEX_NAME);
    let Some(content) = folder.get_if_exists(INDEX_NAME)? else { return Ok(None) };
    let index = Index::parse(&url, &content)?;
    match index.shards.is_empty() {
        true => Err(DataSetError::NoShards { url }),
        false => Ok(Some(index)),
    }
}

/// Explains what is missing in `folder`, and what to do: the index may lie in a folder below, or may not be written yet.
fn no_index(folder: &Folder) -> Result<DataSetError, StorageError> {
    let url = folder.url().to_owned();
    let have_index = |of: &Folder, name: &&str| of.folder(name).exists(INDEX_NAME);
    for name in PREPARED {
        if have_index(folder, &name)? {
            let advice = format!("the folder {name} in it is one: give {:?}", folder.url_of(name));
            return Ok(DataSetError::NoIndex { url, advice });
        }
    }
    // The output of prepare is the folder above the given one.
    let named = folder.parent().filter(|(_, name)| PREPARED.contains(&&**name));
    let is_prepared = |output: &Folder| output.folder(TRAIN).exists(INDEX_NAME).unwrap_or(false);
    let advice = match named {
        Some((output, name)) if name != TRAIN && is_prepared(&output) => {
            let advice = "`launcher prepare` has found nothing for validation: the only document is too short to be divided, all have \
                          the same text, or prepare.validation_fraction was 0; leave data.validation out, or prepare other text \
                          into another folder";
            return Ok(DataSetError::NoIndex { url, advice: advice.to_owned() });
        }
        Some((output, _)) if is_unfinished(&output) => {
            format!("`launcher prepare` has not finished {:?}: run the same command again", output.url())
        }
        Some((output, _)) => format!("make it with `launcher prepare` and prepare.output = {:?}", output.url()),
        None => format!(
            "make one with `launcher prepare` and prepare.output = {url:?}, and give {:?} to train on",
            folder.url_of(PREPARED[0])
        ),
    };
    Ok(DataSetError::NoIndex { url, advice: format!("{advice}; or correct data.train and data.validation") })
}

fn is_unfinished(output: &Folder) -> bool {
    output.list_folders().is_ok_and(|names| names.iter().any(|name| name == PREPARE_WORK))
}

/// Checks that an embedding of `rows` rows has one for each of the `ids` token ids of the data set at `url`.
pub fn check_rows(rows: u64, ids: u32, url: &str) -> Result<(), DataSetError> {
    let ids = u64::from(ids);
    if rows < ids { Err(DataSetError::SmallVocabulary { rows, ids, url: url.to_owned() }) } else { Ok(()) }
}

/// Checks that the token shards were made with `tokenizer`, which the config calls `name`. Its name in the index may differ,
/// since equal files may lie elsewhere.
fn check_tokenizer(set: &DataSetIndex, tokenizer: &Tokenizer, name: &str) -> Result<(), DataSetError> {
    let expected =
        TokenizerIdentity { name: name.to_owned(), vocabulary: tokenizer.size(), hash: tokenizer.hash().to_owned() };
    let got = TokenizerIdentity {
        name: set.index.tokenizer.clone(),
        vocabulary: set.index.vocabulary,
        hash: set.index.tokenizer_hash.clone(),
    };
    match (&got.hash, got.vocabulary) == (&expected.hash, expected.vocabulary) {
        true => Ok(()),
        false => {
            let url = set.folder.url_of(INDEX_NAME);
            Err(DataSetError::Tokenizer { url, expected: Box::new(expected), got: Box::new(got) })
        }
    }
}
