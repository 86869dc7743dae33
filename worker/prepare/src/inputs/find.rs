//! Finds the objects of the inputs that the config names.

use std::collections::HashSet;

use common::config::StorageConfig;
use common::secrets::without_secrets;
use common::storage::{Folder, ObjectInfo, Selected, StorageError, Wanted};
use common::threads;
use serde::{Deserialize, Serialize};
use webtext::pages::Format;
use webtext::pages::format::KINDS as PAGE_KINDS;

use super::source::{KINDS, Kind, Source, is_read};
use crate::PrepareError;

/// An object that was found, as ranks tell each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Found {
    /// Number of the input that the object belongs to, from 0.
    pub input: u32,
    /// Name in the input's folder; empty where the input is the object.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Version in the store, which changes when the content does.
    pub version: String,
    /// Reason why the object cannot be read, if [`probe`] has found one.
    pub unreadable: Option<String>,
}

/// All objects to read, in the order of the inputs, and within an input by name.
pub struct Sources {
    /// Sources by number.
    pub list: Vec<Source>,
}

/// Finds the objects of `inputs` that have documents. An input in which there is nothing to read is an error.
pub fn find(inputs: &[String], storage: &StorageConfig) -> Result<Vec<Found>, PrepareError> {
    find_where(inputs, storage, is_read, KINDS)
}

/// Finds the objects of `inputs` that have pages. An input in which there is nothing to read is an error.
pub fn find_pages(inputs: &[String], storage: &StorageConfig) -> Result<Vec<Found>, PrepareError> {
    find_where(inputs, storage, |name, _| Format::of(name).is_some(), PAGE_KINDS)
}

/// Finds the objects of `inputs` for whose name and input `is_wanted` holds, which are of these `kinds`.
fn find_where(
    inputs: &[String],
    storage: &StorageConfig,
    is_wanted: impl Fn(&str, &str) -> bool,
    kinds: &'static str,
) -> Result<Vec<Found>, PrepareError> {
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    for (number, input) in (0..).zip(inputs) {
        let before = found.len();
        let Selected { folder, objects } = Wanted::open(input, storage)?.find(|name| is_wanted(name, input))?;
        let found_here =
            |o: ObjectInfo| Found { input: number, name: o.name, bytes: o.bytes, version: o.version, unreadable: None };
        found.extend(objects.into_iter().map(found_here));
        let urls = found[before..].iter().map(|found| folder.url_of(&found.name));
        urls.filter(|url| !seen.insert(url.clone())).for_each(|url| tracing::warn!("{url} is read more than once"));
        if found.len() == before {
            return Err(nothing_to_read(input, &folder, kinds));
        }
    }
    Ok(found)
}

/// Reads a byte of each object, and marks those that the store refuses, so that they are left out from the beginning: the
/// documents must not depend on when an object was read.
pub fn probe(inputs: &[String], found: &mut [Found], storage: &StorageConfig) -> Result<(), PrepareError> {
    let folders = folders_of(inputs, storage)?;
    let try_read = |found: &Found| match found.bytes {
        0 => Ok(None),
        _ => match folders[found.input as usize].get_range(&found.name, 0..1) {
            Ok(_) => Ok(None),
            Err(error @ StorageError::Unreachable { .. }) => Err(error),
            // Missing credentials are not a fault of the object.
            Err(StorageError::Denied { url, operation, reason }) if reason.starts_with("no credentials") => {
                Err(StorageError::Denied { url, operation, reason })
            }
            Err(error) => Ok(Some(error.to_string())),
        },
    };
    let results = threads::map(found, storage.concurrency as usize, try_read);
    for (found, result) in found.iter_mut().zip(results) {
        found.unreadable = result?;
    }
    Ok(())
}

/// Returns the error for an `input` that has no object of these `kinds`.
pub(crate) fn nothing_to_read(input: &str, folder: &Folder, kinds: &'static str) -> PrepareError {
    PrepareError::NothingToRead { input: without_secrets(input).into_owned(), url: folder.url().to_owned(), kinds }
}

/// Opens the folders that the names of each input are relative to.
pub(crate) fn folders_of(inputs: &[String], storage: &StorageConfig) -> Result<Vec<Folder>, PrepareError> {
    inputs.iter().map(|input| folder(input, storage)).collect()
}

/// Opens the folder that an input's names are relative to.
fn folder(input: &str, storage: &StorageConfig) -> Result<Folder, PrepareError> {
    Ok(Wanted::open(input, storage)?.folder().clone())
}

impl Sources {
    /// Opens the objects that [`find`] has found for `inputs`.
    pub fn open(inputs: &[String], found: &[Found], storage: &StorageConfig) -> Result<Self, PrepareError> {
        let folders = folders_of(inputs, storage)?;
        let source = |(number, found): (u32, &Found)| {
            let folder = folders[found.input as usize].clone();
            let kind = Kind::of(&folder.url_of(&found.name)).ok_or_else(|| PrepareError::NothingToRead {
                input: without_secrets(&inputs[found.input as usize]).into_owned(),
                url: folder.url_of(&found.name),
                kinds: KINDS,
            })?;
            let (name, unreadable) = (found.name.clone(), found.unreadable.clone());
            Ok(Source { number, name, bytes: found.bytes, unreadable, folder, kind })
        };
        // Unreadable objects are kept: units know a source by its number.
        Ok(Sources { list: (0..).zip(found).map(source).collect::<Result<_, PrepareError>>()? })
    }
}
