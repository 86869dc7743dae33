//! The folder of one checkpoint, and the manifest in it.

use super::error::CheckpointStoreError;
use crate::checkpoint_layout::{CHECKPOINTS_FOLDER, CheckpointName, MANIFEST_NAME, Manifest, ManifestError};
use crate::storage::Folder;

/// Returns the folder of checkpoint `name` in the run folder `run`.
pub fn folder_of(run: &Folder, name: &CheckpointName) -> Folder {
    run.folder(&path_of(name))
}

/// Returns the path of checkpoint `name`, relative to the run folder.
pub(crate) fn path_of(name: &CheckpointName) -> String {
    format!("{CHECKPOINTS_FOLDER}/{name}")
}

/// Reads the manifest of checkpoint `name`, which must be committed.
pub fn read_manifest(run: &Folder, name: &CheckpointName) -> Result<Manifest, CheckpointStoreError> {
    let folder = folder_of(run, name);
    let url = folder.url_of(MANIFEST_NAME);
    let manifest = Manifest::parse(&url, &folder.get(MANIFEST_NAME)?)?;
    if manifest.name != *name {
        let reason = format!("it belongs to {}, not into this folder", manifest.name);
        return Err(ManifestError { url, reason }.into());
    }
    Ok(manifest)
}
