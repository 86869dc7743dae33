//! What training data a person names: a filter that was saved, token shards, or documents.

use common::config::{RunConfig, StorageConfig};
use common::storage::{Folder, StorageError, Wanted};
use common::token_shard::INDEX_NAME;
use evaluation::overlap::FILTER_MAGIC;
use prepare::PrepareError;
use prepare::inputs::{Found, KINDS, find, is_read};
use serde::{Deserialize, Serialize};

use super::documents::DocumentTexts;
use super::shards::ShardTexts;
use super::texts::Texts;
use crate::collectives::Collectives;
use crate::error::JobError;
use crate::evaluate::error::EvaluateError;

/// Training data that were opened.
pub enum TrainingTexts {
    /// Filter in a file of this many bytes, which the folder stands for.
    Saved(Folder, u64),
    /// Texts to make a filter of.
    Texts(Box<dyn Texts>),
}

/// Kind of training data, as rank 0 tells the others.
#[derive(Debug, Serialize, Deserialize)]
enum Kind {
    Saved { bytes: u64 },
    Shards,
    Documents(Vec<Found>),
}

/// Opens the training data that `words` name. All ranks must call this together.
pub fn open(words: &str, config: &RunConfig, ranks: &dyn Collectives) -> Result<TrainingTexts, JobError> {
    let storage = &config.storage;
    Ok(match ranks.share("the training data", || kind_of(words, storage))? {
        Kind::Saved { bytes } => TrainingTexts::Saved(Wanted::open(words, storage)?.folder().clone(), bytes),
        Kind::Shards => TrainingTexts::Texts(Box::new(ShardTexts::open(words, config)?)),
        Kind::Documents(found) => TrainingTexts::Texts(Box::new(DocumentTexts::open(words, &found, storage)?)),
    })
}

fn kind_of(words: &str, storage: &StorageConfig) -> Result<Kind, JobError> {
    let wanted = Wanted::open(words, storage)?;
    let folder = wanted.folder();
    let neither = || EvaluateError::NoTrainingData { url: folder.url().to_owned(), kinds: KINDS };
    // The root of a store is no object, and a pattern none by itself.
    if wanted.pattern().is_none() {
        let object = if folder.parent().is_some() { folder.info("") } else { Err(no_object(folder)) };
        match object {
            Ok(object) if is_filter(folder, object.bytes)? => return Ok(Kind::Saved { bytes: object.bytes }),
            // A web server may answer for a folder, too.
            Ok(_) if !is_read(folder.url(), words) => match folder.exists(INDEX_NAME) {
                Ok(true) => return Ok(Kind::Shards),
                _ => return Err(neither().into()),
            },
            Ok(_) => {}
            Err(StorageError::NotFound { .. }) if folder.exists(INDEX_NAME)? => return Ok(Kind::Shards),
            Err(StorageError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match find(&[words.to_owned()], storage) {
        Ok(found) => Ok(Kind::Documents(found)),
        Err(PrepareError::NothingToRead { .. }) => Err(neither().into()),
        Err(error) => Err(EvaluateError::from(error).into()),
    }
}

fn no_object(folder: &Folder) -> StorageError {
    StorageError::NotFound { url: folder.url().to_owned() }
}

fn is_filter(file: &Folder, bytes: u64) -> Result<bool, StorageError> {
    let length = FILTER_MAGIC.len() as u64;
    Ok(bytes >= length && file.get_range("", 0..length)?[..] == FILTER_MAGIC)
}

#[cfg(test)]
mod tests {
    use common::exit_code::ExitCode;

    use super::*;

    #[test]
    fn shards_documents_and_filters_are_told_apart_and_other_things_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for folder in ["shards", "documents", "others", "empty"] {
            std::fs::create_dir(path(folder)).unwrap();
        }
        std::fs::write(path("shards/index.json"), "{}").unwrap();
        std::fs::write(path("documents/a.txt"), "a").unwrap();
        std::fs::write(path("documents/b.jsonl"), "{}").unwrap();
        std::fs::write(path("documents/c.csv"), "x").unwrap();
        std::fs::write(path("others/c.csv"), "x").unwrap();
        std::fs::write(path("seen"), "CNVGRAMS and more").unwrap();
        std::fs::write(path("cut"), "CNVGR").unwrap();
        let kind = |name: &str| kind_of(path(name).to_str().unwrap(), &StorageConfig::default());
        assert!(matches!(kind("shards").unwrap(), Kind::Shards));
        assert!(matches!(kind("seen").unwrap(), Kind::Saved { bytes: 17 }));
        for (name, objects) in [("documents", 2), ("documents/*.jsonl", 1), ("documents/a.txt", 1)] {
            assert!(matches!(kind(name).unwrap(), Kind::Documents(found) if found.len() == objects), "{name}");
        }
        for name in ["others", "others/c.csv", "cut", "documents/*.csv", "empty"] {
            let error = kind(name).unwrap_err();
            let message = error.to_string();
            assert!(message.contains("neither token shards") && message.contains(".jsonl"), "{name}: {message}");
            assert_eq!(error.exit_code(), ExitCode::Data);
        }
    }
}
