//! An object that is written piece by piece, in bounded memory.

use bytes::Bytes;
use object_store::{ObjectStoreExt, WriteMultipart};

use super::{Folder, RUNTIME, Result};

/// Size of the parts that are sent.
const UPLOAD_PART_BYTES: usize = 8 << 20;
/// Parts that may be under way at once.
const UPLOAD_PARTS: usize = 3;

/// An object that is too large to be held in memory. It appears, whole, when the upload is finished, replacing what
/// is there, and never if it is not. At most [`UPLOAD_PARTS`] + 1 parts of [`UPLOAD_PART_BYTES`] are held.
pub struct Upload<'f> {
    folder: &'f Folder,
    name: String,
    writer: WriteMultipart,
}

impl Folder {
    /// Begins an object.
    pub fn upload(&self, name: &str) -> Result<Upload<'_>> {
        let path = self.path(name);
        let upload = RUNTIME.block_on(self.store.put_multipart(&path)).map_err(|e| self.explain("write", name, e))?;
        let writer = WriteMultipart::new_with_chunk_size(upload, UPLOAD_PART_BYTES);
        Ok(Upload { folder: self, name: name.to_owned(), writer })
    }
}

impl Upload<'_> {
    /// Appends `content`; waits while too much of what came before is still under way.
    pub fn write(&mut self, content: Bytes) -> Result<()> {
        let write = async {
            self.writer.wait_for_capacity(UPLOAD_PARTS).await?;
            self.writer.put(content);
            Ok(())
        };
        RUNTIME.block_on(write).map_err(|e| self.folder.explain("write", &self.name, e))
    }

    /// Makes the object appear, whole and durable.
    pub fn finish(self) -> Result<()> {
        RUNTIME.block_on(self.writer.finish()).map(drop).map_err(|e| self.folder.explain("write", &self.name, e))
    }
}
