//! The checkpoints that a listing of a run shows.

use std::collections::BTreeMap;

use crate::attempt::History;
use crate::checkpoint_layout::{CheckpointName, MANIFEST_NAME};
use crate::storage::ObjectInfo;

/// The folder of a checkpoint, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Name of the checkpoint, from the folder's name.
    pub name: CheckpointName,
    /// Whether the folder has a manifest. Without one, the checkpoint is being written, was never finished, or is half deleted.
    pub committed: bool,
    /// Whether the checkpoint does not count although it is committed: see [`History::is_void`].
    pub void: bool,
    /// Total size of its objects, in bytes.
    pub bytes: u64,
    /// Time of the last change of any of its objects, in seconds since 1970, by the store's clock.
    pub changed_unix_s: u64,
}

impl Found {
    /// Returns whether a run can resume from the checkpoint, as far as a listing tells.
    pub fn counts(&self) -> bool {
        self.committed && !self.void
    }

    /// Returns the checkpoints among `objects`, the listing of a run's `CHECKPOINTS_FOLDER`, oldest first. Ignores all other
    /// objects.
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
    use crate::attempt::Claim;

    fn name(step: u64, attempt: u32) -> CheckpointName {
        CheckpointName { step, attempt, id: "x1".into() }
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
