//! The checkpoints in a run folder, as anyone can see them: by listing, and by their manifests.

use common::checkpoint_layout::{CHECKPOINTS_FOLDER, CheckpointName, Found, MANIFEST_NAME, Manifest};
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
    let checkpoint = |found: Found| {
        let name = found.name.to_string();
        let state = match found.committed {
            true => read_manifest(&folder, &found.name)?,
            false => State::Uncommitted { bytes: found.bytes },
        };
        let url = folder.url_of(&name);
        Ok(Checkpoint { name, url, step: found.name.step, attempt: found.name.attempt, state })
    };
    Found::among(&folder.list()?).into_iter().map(checkpoint).collect()
}

/// The newest committed checkpoint of the run folder `run`, going by names alone.
pub fn newest(run: &Folder) -> Result<Option<CheckpointName>, StorageError> {
    let found = Found::among(&run.folder(CHECKPOINTS_FOLDER).list()?);
    Ok(found.into_iter().filter(|found| found.committed).map(|found| found.name).next_back())
}

fn read_manifest(folder: &Folder, name: &CheckpointName) -> Result<State, StorageError> {
    let object = format!("{name}/{MANIFEST_NAME}");
    Ok(match Manifest::parse(&folder.url_of(&object), &folder.get(&object)?) {
        Ok(manifest) if manifest.name != *name => {
            State::Damaged { reason: format!("its manifest is that of {}", manifest.name) }
        }
        Ok(manifest) => State::Committed {
            world_size: manifest.world_size,
            bytes: manifest.objects.iter().map(|object| object.bytes).sum(),
            sequences_consumed: manifest.sequences_consumed,
        },
        Err(error) => State::Damaged { reason: error.to_string() },
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
            let manifest = Manifest {
                version: 1,
                name: CheckpointName { step, ..name.clone() },
                sequences_consumed: 8 * step,
                updates: step,
                grad_norms: Vec::new(),
                world_size: 2,
                tokenizer_hash: String::new(),
                data_sequences: 100,
                config: String::new(),
                objects: vec![ObjectEntry::describe("x", b"1234567"), ObjectEntry::describe("y", b"1234567")],
                tensors: vec![],
                optimizer: vec![],
            };
            folder.put(MANIFEST_NAME, manifest.to_json()).unwrap();
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
