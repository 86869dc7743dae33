//! The folder of one checkpoint, and the manifest in it.

use super::error::CheckpointStoreError;
use crate::checkpoint_layout::{CHECKPOINTS_FOLDER, CheckpointName, MANIFEST_NAME, Manifest, ManifestError};
use crate::config::StorageConfig;
use crate::storage::{Folder, StorageError, absolute_url};

/// Returns the folder of checkpoint `name` in the run folder `run`.
pub fn folder_of(run: &Folder, name: &CheckpointName) -> Folder {
    run.folder(&path_of(name))
}

/// Opens the run folder that the checkpoint in the folder at `url` belongs to. Returns `None` if the folder lies elsewhere than runs
/// have their checkpoints.
pub fn run_of(url: &str, storage: &StorageConfig) -> Result<Option<Folder>, StorageError> {
    let url = absolute_url(url)?.to_string();
    let run = url.trim_end_matches('/').rsplit_once('/').and_then(|(checkpoints, name)| {
        let run = checkpoints.strip_suffix(CHECKPOINTS_FOLDER)?.strip_suffix('/')?;
        CheckpointName::parse(name).map(|_| run)
    });
    run.map(|run| Folder::open(run, storage)).transpose()
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

    #[test]
    fn a_checkpoint_belongs_to_a_run_only_where_runs_have_theirs() {
        let name = CheckpointName { step: 7, attempt: 1, id: "x1".into() };
        let run = |path: &str| {
            let run = run_of(&format!("memory://box/{path}"), &StorageConfig::default()).unwrap();
            run.map(|run| run.url().to_owned())
        };
        assert_eq!(run(&format!("runs/a/checkpoints/{name}")).as_deref(), Some("memory://box/runs/a"));
        assert_eq!(run(&format!("runs/a/checkpoints/{name}/")).as_deref(), Some("memory://box/runs/a"));
        assert_eq!(run(&format!("runs/a/{name}")), None);
        assert_eq!(run("runs/a/checkpoints/best"), None);
        assert_eq!(run(""), None);
    }
}
