//! Lists the checkpoints in a run folder, as anyone can see them: by listing, and by their manifests.

use common::checkpoint_layout::CheckpointName;
use common::checkpoint_store::Found;
use common::checkpoint_store::{self, CheckpointStoreError, folder_of};
use common::storage::{Folder, StorageError};
use serde::Serialize;

/// A folder of `checkpoints/`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checkpoint {
    /// Name of the folder.
    pub name: String,
    /// Absolute URL of the folder.
    pub url: String,
    /// Number of completed steps.
    pub step: u64,
    /// Attempt that saved the checkpoint.
    pub attempt: u32,
    /// State of the checkpoint.
    #[serde(flatten)]
    pub state: State,
}

/// State of a checkpoint's folder.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// The folder has a manifest.
    Committed {
        /// Number of ranks that saved the checkpoint.
        world_size: u32,
        /// Size of the checkpoint's objects without the manifest.
        bytes: u64,
        /// Sequences consumed so far.
        sequences_consumed: u64,
    },
    /// The folder has a manifest that cannot be read.
    Damaged {
        /// Reason why it cannot be read.
        reason: String,
    },
    /// The checkpoint is committed and does not count: a later attempt continued from an older one.
    Void {
        /// Size of all objects in the folder.
        bytes: u64,
    },
    /// The folder has no manifest: a save is in progress, or was cut off.
    Uncommitted {
        /// Size of the objects that are there.
        bytes: u64,
    },
}

/// Lists all checkpoints of the run folder `run`, oldest first.
pub fn list(run: &Folder) -> Result<Vec<Checkpoint>, StorageError> {
    let checkpoint = |found: Found| {
        let Found { name, committed, void, bytes, .. } = found;
        let state = match (committed, void) {
            (false, _) => State::Uncommitted { bytes },
            (true, true) => State::Void { bytes },
            (true, false) => read_manifest(run, &name)?.unwrap_or(State::Uncommitted { bytes }),
        };
        let url = folder_of(run, &name).url().to_owned();
        Ok(Checkpoint { name: name.to_string(), url, step: name.step, attempt: name.attempt, state })
    };
    checkpoint_store::list(run)?.into_iter().map(checkpoint).collect()
}

/// Reads a checkpoint's state from its manifest; `None` where the manifest is gone since the listing.
fn read_manifest(run: &Folder, name: &CheckpointName) -> Result<Option<State>, StorageError> {
    match checkpoint_store::read_manifest(run, name) {
        Ok(manifest) => Ok(Some(State::Committed {
            world_size: manifest.world_size,
            bytes: manifest.objects.iter().map(|object| object.bytes).sum(),
            sequences_consumed: manifest.sequences_consumed,
        })),
        Err(CheckpointStoreError::Storage(StorageError::NotFound { .. })) => Ok(None),
        Err(CheckpointStoreError::Storage(error)) => Err(error),
        Err(error) => Ok(Some(State::Damaged { reason: error.to_string() })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use bytes::Bytes;
    use common::attempt::{Claimant, acquire};
    use common::checkpoint_layout::{CHECKPOINTS_FOLDER, MANIFEST_NAME, Manifest, ObjectEntry};
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
                skipped_in_a_row: 0,
                changes: Vec::new(),
                world_size: 2,
                tokenizer_hash: String::new(),
                data_sequences: 100,
                data_order: 2,
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
        assert_eq!(list(&run).unwrap(), []);
        let second = put(&run, 20, 2, Some(20));
        put(&run, 100, 1, Some(100));
        put(&run, 20, 1, Some(19));
        put(&run, 100, 3, Some(100));
        put(&run, 300, 3, None);
        run.put("checkpoints/notes/README", Bytes::from_static(b"not a checkpoint")).unwrap();

        let found = list(&run).unwrap();
        let order: Vec<_> = found.iter().map(|c| (c.step, c.attempt)).collect();
        assert_eq!(order, [(20, 1), (20, 2), (100, 1), (100, 3), (300, 3)]);
        let State::Damaged { reason } = &found[0].state else { panic!("{:?}", found[0]) };
        assert!(reason.contains("it belongs to step-00000019-a0001-ab12"), "{reason}");
        assert_eq!(found[1].state, State::Committed { world_size: 2, bytes: 14, sequences_consumed: 160 });
        assert_eq!(found[4].state, State::Uncommitted { bytes: 5 });
        let claimant = Claimant { ranks: 1, expiry: Duration::from_secs(60), holds: None };
        let claim = acquire(&run, &claimant, &mut |_| true).unwrap().unwrap().claim();
        common::attempt::record_start(&run, &claim, Some(&second)).unwrap();
        assert!(matches!(list(&run).unwrap()[2].state, State::Void { .. }));
    }
}
