//! Inputs, as the config names them, to the objects in them.

use std::collections::HashSet;

use common::config::StorageConfig;
use common::parallel;
use common::storage::{Folder, ObjectInfo, StorageError};
use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};

use super::{Kind, Source};
use crate::PrepareError;

/// An object that was found; what ranks tell each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Found {
    /// Which of the inputs it belongs to, from 0.
    pub input: u32,
    /// Its name in the input's folder; empty where the input is the object.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Changes when its content does.
    pub version: String,
    /// Why it cannot be read, if that is known: see [`probe`].
    pub unreadable: Option<String>,
}

/// All objects to read, in the order of the inputs, those of one input by name.
pub struct Sources {
    /// By number.
    pub list: Vec<Source>,
}

/// What an input names.
#[derive(Debug, PartialEq, Eq)]
enum Selection {
    /// One object.
    Object,
    /// Every object below a folder that prepare reads.
    Below,
    /// Those below a folder whose names match.
    Matching { folder: String, pattern: String },
}

impl Selection {
    fn of(input: &str) -> Self {
        match input.find(['*', '?', '[']) {
            Some(at) => {
                let split = input[..at].rfind('/').map_or(0, |slash| slash + 1);
                // A pattern right below the root keeps the root's slash.
                let folder = match &input[..split] {
                    "" => ".",
                    "/" => "/",
                    folder => folder.trim_end_matches('/'),
                };
                Selection::Matching { folder: folder.to_owned(), pattern: input[split..].to_owned() }
            }
            None if Kind::of(input).is_some() => Selection::Object,
            None => Selection::Below,
        }
    }
}

/// Finds the objects of `inputs`. An input in which there is nothing to read is an error.
pub fn find(inputs: &[String], storage: &StorageConfig) -> Result<Vec<Found>, PrepareError> {
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    for (number, input) in (0..).zip(inputs) {
        let before = found.len();
        let (folder, objects) = objects(input, storage)?;
        let found_here =
            |o: ObjectInfo| Found { input: number, name: o.name, bytes: o.bytes, version: o.version, unreadable: None };
        found.extend(objects.into_iter().map(found_here));
        let urls = found[before..].iter().map(|found| folder.url_of(&found.name));
        urls.filter(|url| !seen.insert(url.clone())).for_each(|url| tracing::warn!("{url} is read more than once"));
        if found.len() == before {
            return Err(PrepareError::NothingToRead { input: input.clone(), url: folder.url().to_owned() });
        }
    }
    Ok(found)
}

/// Reads a byte of each object, and notes those that the store refuses, so that they are left out from the beginning: which
/// documents there are must not depend on when an object was read.
pub fn probe(inputs: &[String], found: &mut [Found], storage: &StorageConfig) -> Result<(), PrepareError> {
    let folders = inputs.iter().map(|input| folder(input, storage)).collect::<Result<Vec<_>, _>>()?;
    let try_read = |found: &Found| match found.bytes {
        0 => Ok(None),
        _ => match folders[found.input as usize].get_range(&found.name, 0..1) {
            Ok(_) => Ok(None),
            Err(error @ StorageError::Unreachable { .. }) => Err(error),
            // No fault of the object.
            Err(StorageError::Denied { url, operation, reason }) if reason.starts_with("no credentials") => {
                Err(StorageError::Denied { url, operation, reason })
            }
            Err(error) => Ok(Some(error.to_string())),
        },
    };
    let results = parallel::map(found, storage.concurrency as usize, try_read);
    for (found, result) in found.iter_mut().zip(results) {
        found.unreadable = result?;
    }
    Ok(())
}

/// The folder that an input's names are relative to.
fn folder(input: &str, storage: &StorageConfig) -> Result<Folder, PrepareError> {
    match Selection::of(input) {
        Selection::Matching { folder, .. } => Ok(Folder::open(&folder, storage)?),
        Selection::Object | Selection::Below => Ok(Folder::open(input, storage)?),
    }
}

fn objects(input: &str, storage: &StorageConfig) -> Result<(Folder, Vec<ObjectInfo>), PrepareError> {
    let folder = folder(input, storage)?;
    let mut objects = match Selection::of(input) {
        Selection::Object => match folder.info("") {
            Ok(info) => vec![info],
            // A folder may be called like an object.
            Err(error @ StorageError::NotFound { .. }) => match folder.list()? {
                below if below.is_empty() => return Err(error.into()),
                below => below,
            },
            Err(error) => return Err(error.into()),
        },
        Selection::Below => folder.list()?,
        Selection::Matching { pattern, .. } => {
            let glob = Pattern::new(&pattern)
                .map_err(|e| PrepareError::Pattern { input: input.to_owned(), reason: e.msg.to_owned() })?;
            // `*` stays within a folder, `**` does not.
            let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
            folder.list()?.into_iter().filter(|o| glob.matches_with(&o.name, options)).collect()
        }
    };
    let all = objects.len();
    objects.retain(|o| o.name.is_empty() || Kind::of(&o.name).is_some());
    if objects.len() < all {
        tracing::info!("{input}: {} of {all} objects are of a kind that prepare reads", objects.len());
    }
    Ok((folder, objects))
}

impl Sources {
    /// The objects that [`find`] has found for `inputs`, ready to be read.
    pub fn open(inputs: &[String], found: &[Found], storage: &StorageConfig) -> Result<Self, PrepareError> {
        let folders = inputs.iter().map(|input| folder(input, storage)).collect::<Result<Vec<_>, _>>()?;
        let source = |(number, found): (u32, &Found)| {
            let input = found.input as usize;
            let name = if found.name.is_empty() { &inputs[input] } else { &found.name };
            let kind = Kind::of(name)?;
            let folder = folders[input].clone();
            let unreadable = found.unreadable.clone();
            Some(Source { number, name: found.name.clone(), bytes: found.bytes, unreadable, folder, kind })
        };
        Ok(Sources { list: (0..).zip(found).filter_map(source).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_told_from_folders_and_objects() {
        let matching = |folder: &str, pattern: &str| Selection::Matching {
            folder: folder.to_owned(),
            pattern: pattern.to_owned(),
        };
        assert_eq!(Selection::of("s3://b/web/*.jsonl.zst"), matching("s3://b/web", "*.jsonl.zst"));
        assert_eq!(Selection::of("data/part-[0-9]/**/*.txt"), matching("data", "part-[0-9]/**/*.txt"));
        assert_eq!(Selection::of("*.txt"), matching(".", "*.txt"));
        assert_eq!(Selection::of("/*.txt"), matching("/", "*.txt"));
        assert_eq!(Selection::of("s3://b/web/a.jsonl.gz"), Selection::Object);
        assert_eq!(Selection::of("s3://b/web"), Selection::Below);
    }

    #[test]
    fn names_say_how_documents_lie() {
        for name in ["a.txt", "A.TXT", "b/c.jsonl", "a.jsonl.gz", "a.txt.zst", "a.txt.xz", "a.jsonl.bz2", "x.parquet"] {
            assert!(Kind::of(name).is_some(), "{name}");
        }
        for name in ["a.md", "a", "a.gz", "x.parquet.gz", "txt", "index.json"] {
            assert!(Kind::of(name).is_none(), "{name}");
        }
    }
}
