//! The folder of one checkpoint, and the manifest in it.

use super::error::CheckpointStoreError;
use crate::checkpoint_layout::{CHECKPOINTS_FOLDER, CheckpointName, MANIFEST_NAME, Manifest, ManifestError};
use crate::storage::Folder;

/// Returns the folder of checkpoint `name` in the run folder `run`.
pub fn folder_of(run: &Folder, name: &CheckpointName) -> Folder {
    run.folder(&path_of(name))
}

/// Returns the run folder that the folder of checkpoint `name` lies in, or `None` if it lies elsewhere.
pub fn run_of(checkpoint: &Folder, name: &CheckpointName) -> Option<Folder> {
    let (checkpoints, own) = checkpoint.parent()?;
    let (run, parent) = checkpoints.parent()?;
    (own == name.to_string() && parent == CHECKPOINTS_FOLDER).then_some(run)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StorageConfig;

    #[test]
    fn a_checkpoint_belongs_to_a_run_only_where_runs_have_theirs() {
        let name = CheckpointName { step: 7, attempt: 1, id: "x1".into() };
        let run = |path: &str| {
            let folder = Folder::open(&format!("memory://box/{path}"), &StorageConfig::default()).unwrap();
            run_of(&folder, &name).map(|run| run.url().to_owned())
        };
        assert_eq!(run(&format!("runs/a/checkpoints/{name}")).as_deref(), Some("memory://box/runs/a"));
        assert_eq!(run(&format!("runs/a/{name}")), None);
        assert_eq!(run("runs/a/checkpoints/best"), None);
        assert_eq!(run(""), None);
    }
}
