//! An object that a library writes through [`Write`]: its bytes go to the store in parts, and are hashed on their way.

use std::io::{self, Read, Write};

use bytes::Bytes;
use common::sha256::Sha256Sum;
use common::storage::{Folder, Reader, StorageError, Upload};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::PrepareError;

/// Bytes that are passed on at once.
const PART_BYTES: usize = 1 << 20;

/// Size and hash of an object that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the content.
    pub sha256: Sha256Sum,
}

/// Writer of an object. The object appears when it is finished, and never otherwise.
pub struct ObjectWriter<'f> {
    upload: Upload<'f>,
    part: Vec<u8>,
    hasher: Sha256,
    bytes: u64,
}

impl<'f> ObjectWriter<'f> {
    /// Begins the object `name` in `folder`.
    pub fn begin(folder: &'f Folder, name: &str) -> Result<Self, StorageError> {
        let upload = folder.upload(name)?;
        Ok(ObjectWriter { upload, part: Vec::with_capacity(PART_BYTES), hasher: Sha256::new(), bytes: 0 })
    }

    /// Makes the object appear, whole and durable.
    pub fn finish(mut self) -> Result<Stored, StorageError> {
        self.send(Vec::new())?;
        self.upload.finish()?;
        Ok(Stored { bytes: self.bytes, sha256: Sha256Sum(self.hasher.finalize().into()) })
    }

    fn send(&mut self, next: Vec<u8>) -> Result<(), StorageError> {
        let part = Bytes::from(std::mem::replace(&mut self.part, next));
        self.hasher.update(&part);
        self.bytes += part.len() as u64;
        if part.is_empty() { Ok(()) } else { self.upload.write(part) }
    }
}

impl Write for ObjectWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = bytes.len().min(PART_BYTES - self.part.len());
        self.part.extend_from_slice(&bytes[..fits]);
        if self.part.len() == PART_BYTES {
            self.send(Vec::with_capacity(PART_BYTES)).map_err(io::Error::other)?;
        }
        Ok(fits)
    }

    /// Does nothing: parts are passed on when they are full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Checks that the object `name` has the content that was written. What does not is damaged, and named.
pub fn verify(folder: &Folder, name: &str, stored: &Stored) -> Result<(), PrepareError> {
    let damaged = |reason: String| super::damaged(folder, name, reason);
    let size = match folder.size(name) {
        Err(StorageError::NotFound { .. }) => return Err(damaged("gone since it was written".to_owned())),
        size => size?,
    };
    if size != stored.bytes {
        return Err(damaged(format!("it has {size} bytes, expected the {} that were written", stored.bytes)));
    }
    let mut reader = folder.reader(name, 0..stored.bytes);
    let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; PART_BYTES]);
    loop {
        let read = reader.read(&mut buffer).map_err(|error| match Reader::storage_error(&error) {
            Some(error) => error.clone().into(),
            None => damaged(error.to_string()),
        })?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
    let found = Sha256Sum(hasher.finalize().into());
    match bytes == stored.bytes && found == stored.sha256 {
        true => Ok(()),
        false => Err(damaged(format!("its {bytes} bytes have another checksum than when they were written"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::config::StorageConfig;

    #[test]
    fn an_object_is_what_was_written_and_damage_to_it_is_named() {
        let folder = Folder::open("memory://stages-object", &StorageConfig::default()).unwrap();
        let content: Vec<u8> = (0..3 * PART_BYTES + 5).map(|i| (i % 251) as u8).collect();
        let mut writer = ObjectWriter::begin(&folder, "a").unwrap();
        content.chunks(70_001).for_each(|part| writer.write_all(part).unwrap());
        assert!(!folder.exists("a").unwrap());
        let stored = writer.finish().unwrap();
        assert_eq!(folder.get("a").unwrap(), content);
        assert_eq!(stored, Stored { bytes: content.len() as u64, sha256: Sha256Sum::of(&content) });
        verify(&folder, "a", &stored).unwrap();
        let mut damaged = content.clone();
        damaged[5] ^= 1;
        folder.put("a", damaged.into()).unwrap();
        let error = verify(&folder, "a", &stored).unwrap_err().to_string();
        assert!(
            error.contains("memory:") && error.contains("/a: its ") && error.contains("another checksum"),
            "{error}"
        );
        folder.put("a", Bytes::from_static(b"")).unwrap();
        let error = verify(&folder, "a", &stored).unwrap_err().to_string();
        assert!(error.contains("/a: it has 0 bytes, expected the 3145733 that were written"), "{error}");
        folder.delete("a").unwrap();
        let error = verify(&folder, "a", &stored).unwrap_err().to_string();
        assert!(error.contains("/a: gone since it was written; remove memory:"), "{error}");
    }
}
