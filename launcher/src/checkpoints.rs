//! The checkpoints in a run folder, as anyone can see them: by listing, and by their manifests.

use std::collections::BTreeMap;

use common::checkpoint_layout::{CHECKPOINTS_FOLDER, CheckpointName, MANIFEST_NAME, Manifest};
use common::storage::{Folder, StorageError};
use serde::Serialize;

/// One folder of `checkpoints/`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checkpoint {
    /// Its folder's name.
    pub name: String,
    /// Its absolute URL.
    pub url: String,
    /// Completed steps.
    pub step: u64,
    /// The attempt that saved it.
    pub attempt: u32,
    /// What it is worth.
    #[serde(flatten)]
    pub state: State,
}

/// What a checkpoint's folder is worth.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It has a manifest.
    Committed {
        /// Number of ranks that saved it.
        world_size: u32,
        /// Size of its objects without the manifest.
        bytes: u64,
        /// Sequences consumed so far.
        sequences_consumed: u64,
    },
    /// It has a manifest that cannot be read.
    Damaged {
        /// Why.
        reason: String,
    },
    /// It has no manifest: a save that is under way, or was cut off.
    Uncommitted {
        /// Size of what is there.
        bytes: u64,
    },
}

/// All checkpoints of the run folder `run`, oldest first.
pub fn list(run: &Folder) -> Result<Vec<Checkpoint>, StorageError> {
    let folder = run.folder(CHECKPOINTS_FOLDER);
    let mut checkpoints = Vec::new();
    for (name, found) in find(&folder)? {
        let text = name.to_string();
        let state = match found.has_manifest {
            true => read_manifest(&folder, &name)?,
            false => State::Uncommitted { bytes: found.bytes },
        };
        let url = folder.url_of(&text);
        checkpoints.push(Checkpoint { name: text, url, step: name.step, attempt: name.attempt, state });
    }
    Ok(checkpoints)
}

/// The newest committed checkpoint of the run folder `run`, going by names alone.
pub fn newest(run: &Folder) -> Result<Option<CheckpointName>, StorageError> {
    let found = find(&run.folder(CHECKPOINTS_FOLDER))?;
    Ok(found.into_iter().filter(|(_, found)| found.has_manifest).map(|(name, _)| name).next_back())
}

#[derive(Default)]
struct Found {
    bytes: u64,
    has_manifest: bool,
}

/// Every checkpoint's folder with what lies in it, ordered by step, then attempt.
fn find(folder: &Folder) -> Result<BTreeMap<CheckpointName, Found>, StorageError> {
    let mut checkpoints: BTreeMap<CheckpointName, Found> = BTreeMap::new();
    for object in folder.list()? {
        let Some((parent, file)) = object.name.split_once('/') else { continue };
        let Some(name) = CheckpointName::parse(parent) else { continue };
        let found = checkpoints.entry(name).or_default();
        found.bytes += object.bytes;
        found.has_manifest |= file == MANIFEST_NAME;
    }
    Ok(checkpoints)
}

fn read_manifest(folder: &Folder, name: &CheckpointName) -> Result<State, StorageError> {
    let bytes = folder.get(&format!("{name}/{MANIFEST_NAME}"))?;
    Ok(match serde_json::from_slice::<Manifest>(&bytes) {
        Ok(manifest) if manifest.name != *name => {
            State::Damaged { reason: format!("its manifest is that of {}", manifest.name) }
        }
        Ok(manifest) => State::Committed {
            world_size: manifest.world_size,
            bytes: manifest.objects.iter().map(|object| object.bytes).sum(),
            sequences_consumed: manifest.sequences_consumed,
        },
        Err(error) => State::Damaged { reason: format!("its manifest cannot be read: {error}") },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use common::checkpoint_layout::ObjectEntry;
    use common::config::StorageConfig;

    fn put(run: &Folder, step: u64, attempt: u32, manifest_step: Option<u64>) -> CheckpointName {
        let name = CheckpointName { step, attempt, id: "ab12".into() };
        let folder = run.folder(CHECKPOINTS_FOLDER).folder(&name.to_string());
        folder.put("model.safetensors", Bytes::from_static(b"12345")).unwrap();
        if let Some(step) = manifest_step {
            let object = ObjectEntry { name: "x".into(), bytes: 7, sha256: String::new(), block_sha256: vec![] };
            let manifest = Manifest {
                version: 1,
                name: CheckpointName { step, ..name.clone() },
                sequences_consumed: 8 * step,
                updates: step,
                world_size: 2,
                tokenizer_hash: String::new(),
                config: String::new(),
                objects: vec![object.clone(), object],
                optimizer: vec![],
            };
            folder.put(MANIFEST_NAME, Bytes::from(serde_json::to_vec(&manifest).unwrap())).unwrap();
        }
        name
    }

    #[test]
    fn a_manifest_commits_and_the_order_is_step_then_attempt() {
        let run = Folder::open("memory://checkpoints", &StorageConfig::default()).unwrap();
        assert_eq!((list(&run).unwrap(), newest(&run).unwrap()), (vec![], None));
        put(&run, 20, 2, Some(20));
        put(&run, 100, 1, Some(100));
        put(&run, 20, 1, Some(19));
        let newest_committed = put(&run, 100, 3, Some(100));
        put(&run, 300, 3, None);
        run.put("checkpoints/notes/README", Bytes::from_static(b"not a checkpoint")).unwrap();

        let found = list(&run).unwrap();
        let order: Vec<_> = found.iter().map(|c| (c.step, c.attempt)).collect();
        assert_eq!(order, [(20, 1), (20, 2), (100, 1), (100, 3), (300, 3)]);
        let State::Damaged { reason } = &found[0].state else { panic!("{:?}", found[0]) };
        assert!(reason.contains("that of step-00000019-a0001-ab12"), "{reason}");
        assert_eq!(found[1].state, State::Committed { world_size: 2, bytes: 14, sequences_consumed: 160 });
        assert_eq!(found[4].state, State::Uncommitted { bytes: 5 });
        assert_eq!(newest(&run).unwrap(), Some(newest_committed));
    }
}
