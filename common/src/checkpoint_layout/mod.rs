//! What a checkpoint looks like in storage: names, contents, and which ones to keep. Pure: nothing here does I/O.
//! docs/checkpoint-format.md is the specification.
//!
//! Each save owns a folder `checkpoints/step-00001000-a0003-<id>/` with fixed names inside. The manifest is put last
//! and create-only: a folder without one does not exist for a reader. The newest checkpoint is the highest
//! (step, attempt) that has a manifest, found by listing; there is no mutable pointer.
//!
//! - [`manifest`]: the table of contents and everything that makes one acceptable.
//! - [`save_plan`]: which rank writes what.
//! - [`hugging_face`]: the files that make the folder open in `transformers`.

pub mod hugging_face;
pub mod manifest;
pub mod save_plan;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::storage::ObjectInfo;

pub use manifest::{Manifest, ManifestError, ObjectEntry, OptimizerSlice, TensorEntry};
pub use save_plan::{ParameterShape, RankShare, SliceRange, plan_save};

/// Name of the manifest in a checkpoint's folder.
pub const MANIFEST_NAME: &str = "manifest.json";
/// Folder of the checkpoints in a run's folder.
pub const CHECKPOINTS_FOLDER: &str = "checkpoints";

/// The identity of one save. Its order is that of resuming: the greatest committed one is the newest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CheckpointName {
    /// Completed steps.
    pub step: u64,
    /// The attempt that saved it.
    pub attempt: u32,
    /// Random letters and digits, so that no two saves share a folder.
    pub id: String,
}

impl fmt::Display for CheckpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step-{:08}-a{:04}-{}", self.step, self.attempt, self.id)
    }
}

impl CheckpointName {
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
    /// Size of all its objects.
    pub bytes: u64,
}

impl Found {
    /// The checkpoints among `objects`, the listing of a run's [`CHECKPOINTS_FOLDER`], oldest first. Whatever else
    /// lies there is not looked at.
    pub fn among(objects: &[ObjectInfo]) -> Vec<Found> {
        let mut found = BTreeMap::new();
        for object in objects {
            let Some((folder, file)) = object.name.split_once('/') else { continue };
            let Some(name) = CheckpointName::parse(folder) else { continue };
            let (committed, bytes) = found.entry(name).or_insert((false, 0_u64));
            *committed |= file == MANIFEST_NAME;
            *bytes = bytes.saturating_add(object.bytes);
        }
        found.into_iter().map(|(name, (committed, bytes))| Found { name, committed, bytes }).collect()
    }
}

/// The checkpoint to resume from: the highest (step, attempt) of those that are committed.
pub fn newest(committed: &[CheckpointName]) -> Option<&CheckpointName> {
    committed.iter().max()
}

/// The committed checkpoints that retention lets go, oldest first: all but the `keep_last` last ones, and never the
/// newest. 0 keeps all.
///
/// Last means by (attempt, step). It is the same order as the newest's in an ordinary run; but where an attempt had
/// to fall back behind a damaged checkpoint, its own saves are the ones to keep, although their steps are lower.
pub fn to_prune(committed: &[CheckpointName], keep_last: u64) -> Vec<CheckpointName> {
    if keep_last == 0 {
        return Vec::new();
    }
    let mut by_attempt: Vec<_> = committed.iter().collect();
    by_attempt.sort_by_key(|name| (name.attempt, name.step, &name.id));
    let excess = (by_attempt.len() as u64).saturating_sub(keep_last) as usize;
    let newest = newest(committed);
    by_attempt[..excess].iter().filter(|name| Some(**name) != newest).map(|name| (*name).clone()).collect()
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
    fn a_listing_becomes_checkpoints_and_only_a_manifest_commits_one() {
        let object = |name: &str| ObjectInfo { name: name.into(), bytes: 10, version: String::new() };
        let listing = [
            object("notes.txt"),
            object("other/manifest.json"),
            object("step-00000010-a0001-x1/manifest.json"),
            object("step-00000010-a0001-x1/model.safetensors"),
            object("step-00000020-a0001-x1/deep/manifest.json"),
            object("step-00000020-a0001-x1/model.safetensors"),
        ];
        let expected = [
            Found { name: name(10, 1), committed: true, bytes: 20 },
            Found { name: name(20, 1), committed: false, bytes: 20 },
        ];
        assert_eq!(Found::among(&listing), expected);
    }

    #[test]
    fn the_newest_is_the_highest_step_then_attempt() {
        assert_eq!(newest(&[]), None);
        let names = [name(5, 9), name(7, 1), name(7, 2), name(6, 3)];
        assert_eq!(newest(&names), Some(&name(7, 2)));
    }

    #[test]
    fn retention_keeps_the_last_and_never_deletes_the_newest() {
        let names = [name(30, 2), name(10, 1), name(20, 1), name(40, 2)];
        assert_eq!(to_prune(&names, 0), []);
        assert_eq!(to_prune(&names, 4), []);
        assert_eq!(to_prune(&names, 2), [name(10, 1), name(20, 1)]);
        assert_eq!(to_prune(&names, 1), [name(10, 1), name(20, 1), name(30, 2)]);
        // Attempt 2 fell back behind a damaged step 30 of attempt 1: its own save stays, and so does the newest.
        assert_eq!(to_prune(&[name(10, 1), name(30, 1), name(20, 2)], 1), [name(10, 1)]);
    }

    #[test]
    fn retention_holds_for_any_set_of_names() {
        for pattern in 0_u32..1 << 10 {
            let bits = (0..10).filter(|i| pattern >> i & 1 == 1);
            let names: Vec<_> = bits.map(|i| name(u64::from(i * 7 % 5), i % 3)).collect();
            for keep_last in 0..=4 {
                let pruned = to_prune(&names, keep_last);
                let kept = names.len() - pruned.len();
                let least = if keep_last == 0 { names.len() } else { names.len().min(keep_last as usize) };
                assert!(kept == least || kept == least + 1, "{kept} of {names:?} for {keep_last}");
                assert!(newest(&names).is_none_or(|newest| !pruned.contains(newest)), "{names:?}");
                assert!(pruned.iter().all(|name| names.contains(name)));
            }
        }
    }
}
