//! Reads and hashes every object of a checkpoint, in bounded memory.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::error::CheckpointStoreError;
use crate::checkpoint_layout::{Manifest, ObjectEntry};
use crate::sha256::Sha256Sum;
use crate::storage::{Folder, StorageError};
use crate::threads;
use crate::token_shard::BLOCK_BYTES;

/// Verifies all objects of the checkpoint in `folder`, several at once: each block, and the whole of each object.
pub fn verify(folder: &Folder, manifest: &Manifest) -> Result<(), CheckpointStoreError> {
    verify_objects(folder, &manifest.objects.iter().collect::<Vec<_>>())
}

/// Verifies some objects of the checkpoint in `folder`. An object that fails is read once more, since bytes flip on the wire
/// as well as on disks.
pub fn verify_objects(folder: &Folder, objects: &[&ObjectEntry]) -> Result<(), CheckpointStoreError> {
    let verify = |object: &&ObjectEntry| match verify_object(folder, object, |_| Ok(())) {
        Err(error @ CheckpointStoreError::Damaged { .. }) => {
            tracing::warn!("reading once more: {error}");
            verify_object(folder, object, |_| Ok(()))
        }
        result => result,
    };
    threads::map(objects, threads::cores(), verify).into_iter().collect()
}

/// Reads an object from front to back, passes each piece of it to `take`, and hashes it.
pub(super) fn verify_object(
    folder: &Folder,
    object: &ObjectEntry,
    mut take: impl FnMut(Bytes) -> Result<(), StorageError>,
) -> Result<(), CheckpointStoreError> {
    let damaged = |reason: String| CheckpointStoreError::Damaged { url: folder.url_of(&object.name), reason };
    let size = match folder.size(&object.name) {
        Err(StorageError::NotFound { .. }) => return Err(damaged("does not exist".into())),
        size => size?,
    };
    if size != object.bytes {
        return Err(damaged(format!("{size} bytes, expected {}", object.bytes)));
    }
    let (mut whole, mut start) = (Sha256::new(), 0);
    // Requests are for whole blocks.
    let mut reader = folder.reader(&object.name, 0..object.bytes);
    while let Some(piece) = reader.next_bytes()? {
        for block in piece.chunks(BLOCK_BYTES as usize) {
            let (got, end) = (Sha256Sum::of(block), start + block.len() as u64);
            // A reader returns no more than it was asked for, and every block within that has a hash.
            let expected =
                object.block_sha256.get((start / BLOCK_BYTES) as usize).copied().unwrap_or(Sha256Sum::UNKNOWN);
            if got != expected {
                return Err(damaged(format!("bytes {start}..{end} have SHA-256 {got}, expected {expected}")));
            }
            start = end;
        }
        whole.update(&piece);
        take(piece)?;
    }
    let got = Sha256Sum(whole.finalize().into());
    if start != object.bytes || got != object.sha256 {
        return Err(damaged(format!("{start} bytes have SHA-256 {got}, expected {}", object.sha256)));
    }
    Ok(())
}
