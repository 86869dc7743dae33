//! Writes an object piece by piece, in bounded memory.
//!
//! Each part is an operation of its own, retried until it is stored. Where the store cannot take parts, or is a disk,
//! `object_store` writes, without retries.

use bytes::Bytes;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    MultipartId, MultipartUpload, ObjectMeta, ObjectStoreExt, PutPayload, PutPayloadMut, WriteMultipart,
};
use tokio::task::JoinSet;

use super::disk::DiskUpload;
use super::error::{Result, StorageError};
use super::folder::Folder;
use super::open::Opened;
use super::runtime::RUNTIME;

/// Size of the parts that are sent, in bytes.
const UPLOAD_PART_BYTES: usize = 8 << 20;
/// Largest number of parts in flight at once.
const UPLOAD_PARTS: usize = 3;

/// An object too large to be held in memory. It appears, whole, when the upload is finished, replacing any that exists, and
/// never appears if the upload is not finished. At most [`UPLOAD_PARTS`] + 1 parts of [`UPLOAD_PART_BYTES`] are held.
pub struct Upload<'f> {
    folder: &'f Folder,
    name: String,
    parts_at_once: usize,
    target: Target,
}

enum Target {
    /// A store that writes by itself.
    Whole(WriteMultipart),
    Parts(Parts),
}

impl Folder {
    /// Begins an upload of the object `name`.
    pub fn upload(&self, name: &str) -> Result<Upload<'_>> {
        self.upload_by(name, UPLOAD_PART_BYTES, UPLOAD_PARTS)
    }

    /// Begins an upload of a large object whose content is in memory already and that will not be read soon. Many parts may
    /// be in flight, and on a local disk the content does not stay in the page cache.
    pub fn upload_from_memory(&self, name: &str) -> Result<Upload<'_>> {
        let Some(file) = self.file(name) else {
            return self.upload_by(name, UPLOAD_PART_BYTES, self.concurrency());
        };
        self.refuse_links_to(name)?;
        let begin = || {
            DiskUpload::begin(file, self.store.ways.clone()).map(|upload| Box::new(upload) as Box<dyn MultipartUpload>)
        };
        let upload = self.store.begin_upload(self.path(name).to_string(), begin);
        let upload = upload.map_err(|error| self.operation("write", name).local(error))?;
        let target = Target::Whole(WriteMultipart::new_with_chunk_size(upload, UPLOAD_PART_BYTES));
        Ok(Upload { folder: self, name: name.to_owned(), parts_at_once: UPLOAD_PARTS, target })
    }

    /// Begins an upload in parts of `part_bytes`, of which `parts_at_once` may be in flight.
    pub(super) fn upload_by(&self, name: &str, part_bytes: usize, parts_at_once: usize) -> Result<Upload<'_>> {
        self.refuse_to_write("write", name)?;
        let path = &self.path(name);
        let target = if self.store.opened().parts.is_some() {
            Target::Parts(Parts::begin(self, name, part_bytes)?)
        } else {
            let begin = |store: Opened| async move { store.objects.put_multipart(path).await };
            let upload = RUNTIME.block_on(self.operation("write", name).request(begin))?;
            Target::Whole(WriteMultipart::new_with_chunk_size(upload, part_bytes))
        };
        Ok(Upload { folder: self, name: name.to_owned(), parts_at_once, target })
    }
}

impl Upload<'_> {
    /// Appends `content`. Waits while too many parts are in flight.
    pub fn write(&mut self, content: Bytes) -> Result<()> {
        match &mut self.target {
            Target::Parts(parts) => RUNTIME.block_on(parts.write(content, self.parts_at_once)),
            Target::Whole(writer) => {
                let write = async {
                    writer.wait_for_capacity(self.parts_at_once).await?;
                    writer.put(content);
                    Ok::<_, object_store::Error>(())
                };
                RUNTIME.block_on(write).map_err(|e| self.folder.operation("write", &self.name).local(e))
            }
        }
    }

    /// Makes the object appear, whole and durable.
    pub fn finish(self) -> Result<()> {
        match self.target {
            Target::Parts(parts) => RUNTIME.block_on(parts.finish()),
            Target::Whole(writer) => {
                let done = RUNTIME.block_on(writer.finish());
                done.map(drop).map_err(|e| self.folder.operation("write", &self.name).local(e))
            }
        }
    }
}

/// An upload to a store that takes parts.
struct Parts {
    folder: Folder,
    name: String,
    path: Path,
    id: MultipartId,
    part_bytes: usize,
    /// Content that does not fill a part yet.
    pending: PutPayloadMut,
    bytes: u64,
    under_way: JoinSet<Result<(usize, PartId)>>,
    /// Number of parts that have been begun.
    begun: usize,
    done: Vec<(usize, PartId)>,
}

impl Parts {
    fn begin(folder: &Folder, name: &str, part_bytes: usize) -> Result<Self> {
        let path = folder.path(name);
        let at = &path;
        let begin = |store: Opened| async move { parts_of(&store)?.create_multipart(at).await };
        let id = RUNTIME.block_on(folder.operation("write", name).request(begin))?;
        Ok(Parts {
            folder: folder.clone(),
            name: name.to_owned(),
            path,
            id,
            part_bytes,
            pending: PutPayloadMut::new(),
            bytes: 0,
            under_way: JoinSet::new(),
            begun: 0,
            done: Vec::new(),
        })
    }

    async fn write(&mut self, mut content: Bytes, parts_at_once: usize) -> Result<()> {
        self.bytes += content.len() as u64;
        while !content.is_empty() {
            let room = self.part_bytes - self.pending.content_length();
            self.pending.push(content.split_to(room.min(content.len())));
            if self.pending.content_length() == self.part_bytes {
                while self.under_way.len() >= parts_at_once {
                    self.wait_for_one().await?;
                }
                self.send();
            }
        }
        Ok(())
    }

    fn send(&mut self) {
        let payload = std::mem::take(&mut self.pending).freeze();
        let (folder, name, path, id) = (self.folder.clone(), self.name.clone(), self.path.clone(), self.id.clone());
        let index = self.begun;
        self.begun += 1;
        self.under_way.spawn_on(
            async move {
                let (at, id, payload) = (&path, &id, &payload);
                let put =
                    |store: Opened| async move { parts_of(&store)?.put_part(at, id, index, payload.clone()).await };
                Ok((index, folder.operation("write", &name).request(put).await?))
            },
            RUNTIME.handle(),
        );
    }

    async fn wait_for_one(&mut self) -> Result<()> {
        if let Some(ended) = self.under_way.join_next().await {
            self.done.push(ended.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))?);
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<()> {
        if self.bytes == 0 {
            return self.folder.put_at_once(&self.name, PutPayload::default()).await;
        }
        if self.pending.content_length() > 0 {
            self.send();
        }
        while !self.under_way.is_empty() {
            self.wait_for_one().await?;
        }
        self.done.sort_by_key(|(index, _)| *index);
        self.complete().await
    }

    /// Joins the parts into one object. If an answer is lost, the upload is over when it is asked for again, and the store
    /// refuses: some stores say that it does not exist, some that it is forbidden. The object itself then tells.
    async fn complete(self) -> Result<()> {
        use StorageError::{Denied, NotFound, Refused};
        let before = self.there().await?;
        let parts: Vec<_> = self.done.iter().map(|(_, part)| part.clone()).collect();
        let (path, id, parts) = (&self.path, &self.id, &parts);
        let complete = |store: Opened| async move {
            parts_of(&store)?.complete_multipart(path, id, parts.clone()).await.map(drop)
        };
        match self.folder.operation("write", &self.name).request(complete).await {
            Err(error @ (NotFound { .. } | Denied { .. } | Refused { .. })) => match self.there().await? {
                Some(now) if now.size == self.bytes && Some(&now) != before.as_ref() => Ok(()),
                _ => Err(error),
            },
            other => other,
        }
    }

    /// Returns the object of this name as it is now. The time of its last change matters, since equal content may be written
    /// again.
    async fn there(&self) -> Result<Option<ObjectMeta>> {
        match self.folder.look_up(&self.name).await {
            Ok(meta) => Ok(Some(meta)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn parts_of(store: &Opened) -> object_store::Result<&dyn MultipartStore> {
    store.parts.as_deref().ok_or_else(|| object_store::Error::NotSupported { source: "uploads in parts".into() })
}
