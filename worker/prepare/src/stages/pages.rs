//! Objects that have pages, and their division into units.
//!
//! An object is read from its beginning to its end by one thread: where its next record begins is known when the one before has
//! been read. Units are therefore whole objects, small ones several together.

use std::ops::Range;

use common::config::StorageConfig;
use common::storage::Folder;
use webtext::pages::Format;
use webtext::pages::format::KINDS;
use xxhash_rust::xxh3::Xxh3;

use crate::PrepareError;
use crate::inputs::{Found, folders_of, nothing_to_read};

/// Smallest and largest size of a unit of several objects, in bytes; approximate. Extraction is slow, so units are small.
const UNIT_BYTES: [u64; 2] = [64 << 10, 16 << 20];
/// Number of units between these sizes, for ranks to share evenly.
const UNITS: u64 = 64;
/// Largest number of objects in a unit, since every object costs a request.
const UNIT_OBJECTS: usize = 1024;

/// An object that has pages.
#[derive(Debug, Clone)]
pub struct PageSource {
    /// Number of its input.
    pub input: u32,
    /// Name in the input's folder; empty where the input is the object.
    pub name: String,
    /// Folder of the input.
    pub folder: Folder,
    /// Size in bytes when the object was found.
    pub bytes: u64,
    /// How pages lie in it.
    pub format: Format,
    /// Reason why the object cannot be read, if it is known.
    pub unreadable: Option<String>,
}

impl PageSource {
    /// Opens the objects that were `found` for `inputs`, in their order.
    pub fn open_all(inputs: &[String], found: &[Found], storage: &StorageConfig) -> Result<Vec<Self>, PrepareError> {
        let folders = folders_of(inputs, storage)?;
        let source = |found: &Found| {
            let folder = folders[found.input as usize].clone();
            let format = Format::of(&folder.url_of(&found.name));
            let format = format.ok_or_else(|| nothing_to_read(&inputs[found.input as usize], &folder, KINDS))?;
            let (name, unreadable) = (found.name.clone(), found.unreadable.clone());
            Ok(PageSource { input: found.input, name, folder, bytes: found.bytes, format, unreadable })
        };
        found.iter().map(source).collect()
    }

    /// Returns the object's absolute URL, without secrets.
    pub fn url(&self) -> String {
        self.folder.url_of(&self.name)
    }
}

/// Divides objects of these sizes into units, each of neighbours. The division depends on nothing else.
pub fn units(bytes: &[u64]) -> Vec<Range<usize>> {
    divide(bytes, UNIT_BYTES)
}

/// Divides what has these sizes, all of which go into about 64 parts of neighbours, if these are within the `bounds` of a part.
pub(super) fn divide(bytes: &[u64], bounds: [u64; 2]) -> Vec<Range<usize>> {
    let all: u64 = bytes.iter().sum();
    let most = (all / UNITS).clamp(bounds[0], bounds[1]);
    let mut units: Vec<Range<usize>> = Vec::new();
    let mut unit_bytes = 0;
    for (number, bytes) in bytes.iter().enumerate() {
        match units.last_mut() {
            Some(unit) if unit_bytes + bytes <= most && unit.len() < UNIT_OBJECTS => {
                unit.end = number + 1;
                unit_bytes += bytes;
            }
            _ => {
                units.push(number..number + 1);
                unit_bytes = *bytes;
            }
        }
    }
    units
}

/// Returns the id of a document: a hash of the number of its input, the name of its object there, and its place in that.
pub fn document_id(input: u32, name: &str, at: u64, within: u64) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(&input.to_le_bytes());
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(name.as_bytes());
    hasher.update(&at.to_le_bytes());
    hasher.update(&within.to_le_bytes());
    hasher.digest128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_cover_all_objects_and_large_ones_stand_alone() {
        assert!(units(&[]).is_empty());
        let sizes = [30 << 10, 30 << 10, 100 << 10, 0, 64 << 10, 1];
        assert_eq!(units(&sizes), [0..2, 2..3, 3..5, 5..6]);
        let large: Vec<u64> = vec![5 << 20; 400];
        assert_eq!(units(&large)[..2], [0..3, 3..6]);
        assert_eq!(units(&[1 << 40, 1 << 40]), [0..1, 1..2]);
        let many = units(&vec![1; 3000]);
        assert_eq!(many, [0..1024, 1024..2048, 2048..3000]);
    }

    #[test]
    fn an_id_is_of_the_input_the_name_and_the_place() {
        let id = document_id(1, "a", 2, 3);
        let others = [document_id(0, "a", 2, 3), document_id(1, "b", 2, 3), document_id(1, "a", 3, 2)];
        assert!(!others.contains(&id));
    }
}
