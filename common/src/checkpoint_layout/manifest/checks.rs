//! Parses a manifest, and believes nothing that contradicts the rest.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::super::name::{CheckpointName, MANIFEST_NAME};
use super::contents::{MANIFEST_VERSION, Manifest, ManifestError};
use super::entries::{ELEMENT_BYTES, OptimizerSlice};
use super::seal::check_seal;
use crate::config::{ConfigChange, RUN_SEQUENCES};
use crate::token_shard::BLOCK_BYTES;

/// Largest number of steps, updates or sequences that a manifest may count: more than any run has, and small enough that
/// sums stay within 64 bits. The number of consumed sequences has a lower bound, [`RUN_SEQUENCES`], since it is multiplied.
const COUNT_MAX: u64 = 1 << 48;
impl Manifest {
    /// Parses a manifest and checks it in full. `url` names it in errors.
    pub fn parse(url: &str, content: &[u8]) -> Result<Self, ManifestError> {
        let refuse = |reason: String| ManifestError { url: url.to_owned(), reason };
        check_seal(content).map_err(refuse)?;
        // A later version may have other fields, and an error about the version is then more helpful.
        let Versioned { version } = serde_json::from_slice(content).map_err(|e| refuse(e.to_string()))?;
        if version != MANIFEST_VERSION {
            return Err(refuse(format!("version {version}, expected {MANIFEST_VERSION}: written by another Convoy")));
        }
        let manifest: Manifest = serde_json::from_slice(content).map_err(|e| refuse(e.to_string()))?;
        manifest.check(url)?;
        Ok(manifest)
    }

    /// Checks that names, sizes and ranges fit together. `url` names the manifest in errors.
    pub fn check(&self, url: &str) -> Result<(), ManifestError> {
        let checks =
            [Self::check_identity, Self::check_cursor, Self::check_objects, Self::check_tensors, Self::check_optimizer];
        checks.iter().try_for_each(|check| check(self)).map_err(|reason| ManifestError { url: url.to_owned(), reason })
    }

    /// Returns the number of elements of each tensor, by name.
    fn elements(&self) -> HashMap<&str, u64> {
        self.tensors.iter().map(|t| (t.name.as_str(), t.elements().unwrap_or(u64::MAX))).collect()
    }

    fn check_identity(&self) -> Result<(), String> {
        if CheckpointName::parse(&self.name.to_string()).is_none() {
            return Err(format!("{:?} is no name of a checkpoint", self.name.to_string()));
        }
        if self.world_size == 0 {
            return Err("saved by a world of 0 ranks".into());
        }
        let counts = [
            ("step", self.name.step),
            ("sequences_consumed", self.sequences_consumed),
            ("updates", self.updates),
            ("skipped_in_a_row", self.skipped_in_a_row),
            ("data_sequences", self.data_sequences),
        ];
        match counts.into_iter().find(|(_, count)| *count > COUNT_MAX) {
            Some((what, count)) => Err(format!("{what} is {count}, expected at most {COUNT_MAX}")),
            None => Ok(()),
        }
    }

    /// Checks that no more is consumed than a run can consume, and that no change was made later.
    fn check_cursor(&self) -> Result<(), String> {
        if self.sequences_consumed > RUN_SEQUENCES {
            return Err(format!(
                "{} sequences, and no run consumes more than {RUN_SEQUENCES}",
                self.sequences_consumed
            ));
        }
        match self.changes.iter().find(|change| change.sequences_consumed > self.sequences_consumed) {
            Some(ConfigChange { key, sequences_consumed, .. }) => Err(format!(
                "{key} changed after {sequences_consumed} sequences, and only {} are consumed",
                self.sequences_consumed
            )),
            None => Ok(()),
        }
    }

    fn check_objects(&self) -> Result<(), String> {
        let mut names = HashSet::new();
        for object in &self.objects {
            let name = &object.name;
            if name == MANIFEST_NAME || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
                return Err(format!(
                    "{name:?} is no name of a file of a checkpoint: letters, digits, dots and dashes are"
                ));
            }
            if !names.insert(name) {
                return Err(format!("{name} is listed twice"));
            }
            if object.bytes == 0 || object.block_sha256.len() as u64 != object.bytes.div_ceil(BLOCK_BYTES) {
                let blocks = object.block_sha256.len();
                return Err(format!("{name}: {} bytes and {blocks} block hashes do not fit together", object.bytes));
            }
        }
        Ok(())
    }

    /// Checks that the tensors are distinct and fit into their objects.
    fn check_tensors(&self) -> Result<(), String> {
        let mut room: HashMap<&str, u64> = self.objects.iter().map(|o| (o.name.as_str(), o.bytes)).collect();
        let mut names = HashSet::new();
        for tensor in &self.tensors {
            if !names.insert(&tensor.name) {
                return Err(format!("tensor {} is listed twice", tensor.name));
            }
            let bytes = tensor.bytes().ok_or_else(|| format!("tensor {}: shape {:?}", tensor.name, tensor.shape))?;
            take_room(&mut room, &tensor.object, bytes).map_err(|e| format!("tensor {}: {e}", tensor.name))?;
        }
        Ok(())
    }

    /// Checks that the slices of every tensor cover it once, and fit into their objects.
    fn check_optimizer(&self) -> Result<(), String> {
        let mut room: HashMap<&str, u64> = self.objects.iter().map(|o| (o.name.as_str(), o.bytes)).collect();
        let mut covered: HashMap<&str, u64> = HashMap::new();
        let elements = self.elements();
        let mut slices: Vec<_> = self.optimizer.iter().collect();
        slices.sort_by_key(|slice| (&slice.tensor, slice.start));
        for OptimizerSlice { tensor, start, end, object, .. } in slices {
            let total = *elements.get(tensor.as_str()).ok_or_else(|| format!("a slice of no tensor: {tensor}"))?;
            let so_far = covered.entry(tensor).or_default();
            if start != so_far || end <= start || *end > total {
                return Err(format!(
                    "{tensor}: slice {start}..{end} after elements 0..{so_far} of {total}: \
                     slices must cover a tensor once"
                ));
            }
            *so_far = *end;
            let bytes = (end - start).saturating_mul(2 * ELEMENT_BYTES);
            take_room(&mut room, object, bytes).map_err(|e| format!("{tensor}: slice {start}..{end}: {e}"))?;
        }
        for (tensor, total) in elements {
            let so_far = covered.get(tensor).copied().unwrap_or(0);
            if so_far != total {
                return Err(format!("{tensor}: its slices cover {so_far} of {total} elements"));
            }
        }
        Ok(())
    }
}

/// Fields that every version of the manifest has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Takes `bytes` from the room that `object` has left.
fn take_room(room: &mut HashMap<&str, u64>, object: &str, bytes: u64) -> Result<(), String> {
    let left = room.get_mut(object).ok_or_else(|| format!("lies in {object:?}, which is not listed"))?;
    *left = left.checked_sub(bytes).ok_or_else(|| format!("{bytes} bytes do not fit into {object} any more"))?;
    Ok(())
}
