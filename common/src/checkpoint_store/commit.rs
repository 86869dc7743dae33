//! Turns a save into a checkpoint by a single put, which only the attempt that holds the run makes.

use bytes::Bytes;

use super::folder::path_of;
use crate::attempt::surroundings::{Surroundings, blocking};
use crate::attempt::{AttemptError, Claim, fence};
use crate::checkpoint_layout::{CheckpointName, MANIFEST_NAME, Manifest};
use crate::storage::Folder;

/// Puts the manifest of a save, unless the run belongs to another attempt than that of claim `holder`, which made the save.
/// The other objects of the save must be durable. When this returns, the checkpoint is committed.
pub fn commit(run: &Folder, holder: &Claim, manifest: &Manifest) -> Result<(), AttemptError> {
    blocking(commit_in(run, holder, &manifest.name, manifest.to_json()))
}

pub(crate) async fn commit_in(
    run: &impl Surroundings,
    holder: &Claim,
    name: &CheckpointName,
    manifest: Bytes,
) -> Result<(), AttemptError> {
    fence(run, holder).await?;
    Ok(run.create(&format!("{}/{MANIFEST_NAME}", path_of(name)), manifest).await?)
}
