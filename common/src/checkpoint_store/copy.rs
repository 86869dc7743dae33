//! Copies a checkpoint to another run folder: verified on the way, its manifest last.

use super::error::CheckpointStoreError;
use super::folder::{folder_of, read_manifest};
use super::verify::verify_object;
use crate::attempt::History;
use crate::checkpoint_layout::{CheckpointName, MANIFEST_NAME};
use crate::storage::Folder;

/// Copies checkpoint `name` from run folder `from` to run folder `to`, in bounded memory. Returns false if it is there already.
///
/// The copy is committed like a save: nothing of it can be seen before its manifest is put. A copy that was cut off is begun
/// again.
pub fn copy(from: &Folder, to: &Folder, name: &CheckpointName) -> Result<bool, CheckpointStoreError> {
    if History::read(to)?.is_void(name) {
        return Err(CheckpointStoreError::Void { run: to.url().to_owned(), name: name.clone() });
    }
    let (source, target) = (folder_of(from, name), folder_of(to, name));
    if target.get_if_exists(MANIFEST_NAME)?.is_some() {
        return Ok(false);
    }
    for object in &read_manifest(from, name)?.objects {
        let mut upload = target.upload(&object.name)?;
        verify_object(&source, object, |piece| upload.write(piece))?;
        upload.finish()?;
    }
    // The manifest is copied as it is, to keep what a later version may have put into it.
    target.create(MANIFEST_NAME, source.get(MANIFEST_NAME)?)?;
    Ok(true)
}
