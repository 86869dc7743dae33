//! What a checkpoint looks like in storage: names, contents, and which ones to keep. Pure: nothing here does I/O.
//! docs/checkpoint-format.md is the specification.
//!
//! Each save owns a folder `checkpoints/step-00001000-a0003-<id>/` with fixed names inside. The manifest is put last
//! and create-only: a folder without one does not exist for a reader. The newest checkpoint is the highest
//! (step, attempt) that has a manifest and is not void, found by listing; there is no mutable pointer.
//!
//! - [`manifest`]: the table of contents and everything that makes one acceptable.
//! - [`save_plan`]: which rank writes what.
//! - [`tensor_file`]: what lies where in a file of tensors.
//! - [`retention`]: which checkpoints go.
//! - [`hugging_face`]: the files that make the folder open in `transformers`.
//!
//! What is done with checkpoints in a store, without tensors, is in [`crate::checkpoint_store`].

pub mod hugging_face;
pub mod manifest;
pub mod retention;
pub mod save_plan;
pub mod tensor_file;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::attempt::{Claim, History};
use crate::storage::ObjectInfo;
use crate::topology::{Rank, WorldSize};

pub use manifest::{Manifest, ManifestError, ObjectEntry, OptimizerSlice, TensorEntry};
pub use retention::{Garbage, Retention};
pub use save_plan::{ParameterShape, RankShare, SliceRange, plan_save};

/// Name of the manifest in a checkpoint's folder.
pub const MANIFEST_NAME: &str = "manifest.json";
/// Folder of the checkpoints in a run's folder.
pub const CHECKPOINTS_FOLDER: &str = "checkpoints";

/// Ends a claim's tag in the id of a checkpoint: no hexadecimal digit.
const TAG_END: char = 'x';

/// The folder of `rank` on its host, in that of the run: laid out as a run's folder, with this rank's objects alone in its
/// checkpoints.
pub fn host_folder(rank: Rank, world: WorldSize) -> String {
    format!("rank-{:05}-of-{world:05}", rank.index() + 1)
}

/// The identity of one save. Its order is that of resuming: the greatest committed one is the newest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CheckpointName {
    /// Completed steps.
    pub step: u64,
    /// The attempt that saved it.
    pub attempt: u32,
    /// Letters and digits, so that no two saves share a folder: the tag of the attempt's claim, `x`, and random ones. Older
    /// versions had no tag.
    pub id: String,
}

impl fmt::Display for CheckpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step-{:08}-a{:04}-{}", self.step, self.attempt, self.id)
    }
}

impl CheckpointName {
    /// A name for a save of `step` by the attempt of `claim`, with `random` letters and digits.
    pub fn new(step: u64, claim: &Claim, random: &str) -> Self {
        CheckpointName { step, attempt: claim.number, id: format!("{}{TAG_END}{random}", claim.tag()) }
    }

    /// The tag of the claim of the attempt that saved it; `None` where an older version did.
    pub fn tag(&self) -> Option<&str> {
        let (tag, _) = self.id.split_once(TAG_END)?;
        let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        (tag.len() == Claim::TAG_CHARACTERS && tag.bytes().all(is_hex)).then_some(tag)
    }

    /// Whether the attempt that saved this also saved `other`, as far as names tell.
    pub fn is_of_the_attempt_of(&self, other: &CheckpointName) -> bool {
        self.attempt == other.attempt && self.tag() == other.tag()
    }

    /// Reads a folder's name; `None` if it is no checkpoint's.
    pub fn parse(folder: &str) -> Option<Self> {
        let mut parts = folder.strip_prefix("step-")?.splitn(3, '-');
        let step = parts.next()?.parse().ok()?;
        let attempt = parts.next()?.strip_prefix('a')?.parse().ok()?;
        let id = parts.next()?.to_owned();
        let name = CheckpointName { step, attempt, id };
        // One checkpoint has one spelling: no missing zeros, no plus signs.
        (name.is_valid() && name.to_string() == folder).then_some(name)
    }

    fn is_valid(&self) -> bool {
        !self.id.is_empty() && self.id.bytes().all(|b| b.is_ascii_alphanumeric())
    }
}

/// A checkpoint's folder, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// From the folder's name.
    pub name: CheckpointName,
    /// Whether it has a manifest; without one it is being written, or was never finished, or is half deleted.
    pub committed: bool,
    /// Whether it does not count although it is committed: see [`History::is_void`].
    pub void: bool,
    /// Size of all its objects.
    pub bytes: u64,
    /// When the last of its objects changed, in seconds since 1970, by the store's clock.
    pub changed_unix_s: u64,
}

impl Found {
    /// Whether a run can resume from it, as far as a listing tells.
    pub fn counts(&self) -> bool {
        self.committed && !self.void
    }

    /// The checkpoints among `objects`, the listing of a run's [`CHECKPOINTS_FOLDER`], oldest first. Whatever else
    /// lies there is not looked at.
    pub fn among(objects: &[ObjectInfo], history: &History) -> Vec<Found> {
        let mut found: BTreeMap<CheckpointName, Found> = BTreeMap::new();
        for object in objects {
            let Some((folder, file)) = object.name.split_once('/') else { continue };
            let Some(name) = CheckpointName::parse(folder) else { continue };
            let void = history.is_void(&name);
            let nothing = || Found { name: name.clone(), committed: false, void, bytes: 0, changed_unix_s: 0 };
            let found = found.entry(name.clone()).or_insert_with(nothing);
            found.committed |= file == MANIFEST_NAME;
            found.bytes = found.bytes.saturating_add(object.bytes);
            found.changed_unix_s = found.changed_unix_s.max(object.changed_unix_s);
        }
        found.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(step: u64, attempt: u32) -> CheckpointName {
        CheckpointName { step, attempt, id: "x1".into() }
    }

    #[test]
    fn names_have_one_spelling() {
        let name = CheckpointName { step: 1000, attempt: 3, id: "0af3".into() };
        assert_eq!(name.to_string(), "step-00001000-a0003-0af3");
        assert_eq!(CheckpointName::parse("step-00001000-a0003-0af3"), Some(name));
        let long = CheckpointName { step: u64::MAX, attempt: u32::MAX, id: "z".into() };
        assert_eq!(CheckpointName::parse(&long.to_string()), Some(long));
        for wrong in [
            "",
            "step-",
            "step-00001000-a0003-",
            "step-00001000-a0003",
            "step-1000-a0003-x",
            "step-+0001000-a0003-x",
            "step-00001000-a3-x",
            "step-00001000-0003-x",
            "step-00001000-a0003-x-y",
            "step-00001000-a0003-..",
            "step-99999999999999999999-a0003-x",
            "tmp-00001000-a0003-x",
        ] {
            assert_eq!(CheckpointName::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_name_has_the_tag_of_its_attempts_claim() {
        let claim = |id: &str| Claim { number: 3, id: id.to_owned() };
        let name = CheckpointName::new(10, &claim("5c0e9d7b21f3a864"), "9f");
        assert_eq!(name.to_string(), "step-00000010-a0003-5c0e9d7bx9f");
        assert!(claim("5c0e9d7b21f3a864").has_saved(&name) && !claim("5c0e9d7c21f3a864").has_saved(&name));
        assert!(!Claim { number: 4, ..claim("5c0e9d7b21f3a864") }.has_saved(&name));
        for untagged in ["5c0e9d7b21f3a864", "x1", "5c0e9d7x9f", "5c0e9d7gx9f"] {
            assert_eq!(CheckpointName { id: untagged.into(), ..name.clone() }.tag(), None, "{untagged}");
        }
    }

    #[test]
    fn a_listing_becomes_checkpoints_and_only_a_manifest_commits_one() {
        let object = |name: &str| ObjectInfo {
            name: name.into(),
            bytes: 10,
            version: String::new(),
            changed_unix_s: name.len() as u64,
        };
        let listing = [
            object("notes.txt"),
            object("other/manifest.json"),
            object("step-00000010-a0001-x1/manifest.json"),
            object("step-00000010-a0001-x1/model.safetensors"),
            object("step-00000020-a0001-x1/deep/manifest.json"),
            object("step-00000020-a0001-x1/model.safetensors"),
        ];
        let found = |name, committed, void, changed_unix_s| Found { name, committed, void, bytes: 20, changed_unix_s };
        let expected = [found(name(10, 1), true, false, 40), found(name(20, 1), false, false, 41)];
        assert_eq!(Found::among(&listing, &History::default()), expected);
        let anew = History::begun(Claim { number: 2, id: "a".repeat(16) }, Vec::new());
        let expected = [found(name(10, 1), true, true, 40), found(name(20, 1), false, true, 41)];
        assert_eq!(Found::among(&listing, &anew), expected);
        assert!(!expected[0].counts());
    }
}
