//! A prefix in an object store, and what can be done with one object there, or with all.
//!
//! Listing, reading, uploading and the deadline of an operation have files of their own.

use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use object_store::local::LocalFileSystem;
use object_store::path::{Path, PathPart};
use object_store::{ObjectMeta, ObjectStoreExt, PutMode, PutPayload};

use super::absolute::absolute_url;
use super::disk::Disk;
use super::error::{Result, StorageError, root_cause};
use super::layer::Layer;
use super::object_info::ObjectInfo;
use super::open::Opened;
use super::runtime::RUNTIME;
use super::store::Store;
use crate::config::StorageConfig;
use crate::secrets::without_secrets;

/// Objects above this size are uploaded in parts of it.
pub const PART_BYTES: usize = 32 << 20;

/// Objects that one operation deletes; the most that S3 deletes by one request.
const DELETED_AT_ONCE: usize = 1_000;

/// A prefix in an object store; names given to its methods are relative to it, with `/` between their parts.
#[derive(Debug, Clone)]
pub struct Folder {
    pub(super) store: Arc<Store>,
    pub(super) prefix: Path,
    pub(super) url: String,
}

impl Folder {
    /// Opens the folder at `url`, which need not exist. No request is made yet.
    pub fn open(url: &str, config: &StorageConfig) -> Result<Self> {
        let url = absolute_url(url)?;
        let shown = without_secrets(url.as_str());
        let refuse = |reason: String| StorageError::Url { url: shown.to_string(), reason };
        let store = Store::open(&url, config).map_err(refuse)?;
        let prefix = Path::from_url_path(url.path()).map_err(|e| refuse(root_cause(&e)))?;
        let name = match shown.trim_end_matches('/') {
            // The root of a disk.
            scheme if scheme.ends_with(':') => format!("{scheme}//"),
            name => name.to_owned(),
        };
        Ok(Folder { store: Arc::new(store), prefix, url: name })
    }

    /// The folder `name` inside this one.
    pub fn folder(&self, name: &str) -> Folder {
        Folder { prefix: self.path(name), url: self.url_of(name), ..self.clone() }
    }

    /// The same folder for what can be made again: where it is on a local disk, objects are not written through to the disk, so
    /// that a machine that loses its power may lose them, or a part of each. A process that is killed loses nothing.
    pub fn for_what_can_be_made_again(&self) -> Folder {
        Folder { store: Arc::new(self.store.relaxed()), ..self.clone() }
    }

    /// The same folder behind `layer`, which may let every request fail.
    pub fn behind(&self, layer: Arc<dyn Layer>) -> Folder {
        Folder { store: Arc::new(self.store.behind(layer)), ..self.clone() }
    }

    /// The folder that this one is in, and its name there; `None` at the root.
    pub fn parent(&self) -> Option<(Folder, String)> {
        let (url, _) = self.url.rsplit_once('/')?;
        let mut parts: Vec<_> = self.prefix.parts().collect();
        let name = parts.pop()?.as_ref().to_owned();
        Some((Folder { prefix: parts.into_iter().collect(), url: url.to_owned(), ..self.clone() }, name))
    }

    /// The absolute URL, without what is secret in it: to show, not to open.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The absolute URL of an object.
    pub fn url_of(&self, name: &str) -> String {
        if name.is_empty() { self.url.clone() } else { format!("{}/{name}", self.url) }
    }

    /// How many requests may be in flight at once: `storage.concurrency`.
    pub fn concurrency(&self) -> usize {
        self.store.config.concurrency as usize
    }

    /// The whole object.
    pub fn get(&self, name: &str) -> Result<Bytes> {
        RUNTIME.block_on(self.read(name, None))
    }

    /// The whole object, or `None` where there is none.
    pub fn get_if_exists(&self, name: &str) -> Result<Option<Bytes>> {
        match self.get(name) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The whole object, or `None` where there is none. One of more than `bytes_max` is not read, and comes back empty.
    pub fn get_small(&self, name: &str, bytes_max: u64) -> Result<Option<Bytes>> {
        let path = &self.path(name);
        let get = |store: Opened| async move {
            let found = store.objects.get(path).await?;
            if found.meta.size > bytes_max { Ok(Bytes::new()) } else { found.bytes().await }
        };
        match RUNTIME.block_on(self.operation("read", name).request(get)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bytes `range` of an object.
    pub fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        RUNTIME.block_on(self.read(name, Some(range)))
    }

    /// Size of an object in bytes.
    pub fn size(&self, name: &str) -> Result<u64> {
        self.info(name).map(|info| info.bytes)
    }

    /// Whether an object is there, by its store's word on this one alone: a listing may be of a moment ago.
    pub fn exists(&self, name: &str) -> Result<bool> {
        match self.info(name) {
            Ok(_) => Ok(true),
            Err(StorageError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What there is to know about an object without reading it.
    pub fn info(&self, name: &str) -> Result<ObjectInfo> {
        Ok(ObjectInfo::new(name.to_owned(), RUNTIME.block_on(self.look_up(name))?))
    }

    pub(super) async fn look_up(&self, name: &str) -> Result<ObjectMeta> {
        let path = &self.path(name);
        let has_query = self.store.has_query();
        let look_up = |store: Opened| async move {
            match has_query {
                // Only the head of the answer is read.
                true => store.objects.get(path).await.map(|found| found.meta),
                false => store.objects.head(path).await,
            }
        };
        self.operation("look up", name).request(look_up).await
    }

    /// Writes an object, replacing what is there; durable when this returns.
    pub fn put(&self, name: &str, content: Bytes) -> Result<()> {
        if content.len() <= PART_BYTES {
            return RUNTIME.block_on(self.put_at_once(name, content));
        }
        let mut upload = self.upload_by(name, PART_BYTES, self.concurrency())?;
        upload.write(content)?;
        upload.finish()
    }

    pub(super) async fn put_at_once(&self, name: &str, content: impl Into<PutPayload>) -> Result<()> {
        self.refuse_to_write("write", name)?;
        let (path, payload) = (&self.path(name), &content.into());
        let put = |store: Opened| async move { store.objects.put(path, payload.clone()).await.map(drop) };
        self.operation("write", name).request(put).await
    }

    /// Writes an object that must not exist yet; of several writers one wins, the others get
    /// [`StorageError::AlreadyExists`].
    ///
    /// `content` must be unique to the writer: a retry after an answer that got lost finds its own object, and is told
    /// from a competitor's by reading it back.
    pub fn create(&self, name: &str, content: Bytes) -> Result<()> {
        self.refuse_to_write("create", name)?;
        match RUNTIME.block_on(self.create_or_read_back(name, &content))? {
            true => Ok(()),
            false => Err(StorageError::AlreadyExists { url: self.url_of(name) }),
        }
    }

    /// Whether the object is there with this content. A store may say that it exists while another writer, whose
    /// creation fails in the end, is at it; then nothing can be read back, and this tries again.
    async fn create_or_read_back(&self, name: &str, content: &Bytes) -> Result<bool> {
        use object_store::Error::AlreadyExists;
        let path = &self.path(name);
        let create = |store: Opened| async move {
            let put = store.objects.put_opts(path, content.clone().into(), PutMode::Create.into()).await;
            match put {
                Err(taken @ AlreadyExists { .. }) => match store.objects.get(path).await {
                    Ok(there) => there.bytes().await.map(|there| there == content),
                    Err(object_store::Error::NotFound { .. }) => Err(taken),
                    Err(error) => Err(error),
                },
                other => other.map(|_| true),
            }
        };
        self.operation("create", name).request(create).await
    }

    /// Removes an object; one that is gone already is no error.
    pub fn delete(&self, name: &str) -> Result<()> {
        self.refuse_to_write("delete", name)?;
        let path = &self.path(name);
        let delete = self.operation("delete", name).request(|store| async move { store.objects.delete(path).await });
        match RUNTIME.block_on(delete) {
            Ok(()) | Err(StorageError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// On a local disk, waits until what was removed from this folder stays removed, whatever happens to the machine; elsewhere
    /// it does so at once.
    pub fn make_deletions_durable(&self) {
        if let Some(disk) = self.disk() {
            // A folder that is not there has nothing to lose.
            let _ = disk.sync(&self.prefix);
        }
    }

    /// Removes all objects below this folder, and nothing else: whatever keys a store lists, and wherever symbolic links on a
    /// local disk lead. On a local disk, also links, what was not finished, and the folders that are empty then; where this
    /// folder is itself a link, it alone.
    pub fn delete_all(&self) -> Result<()> {
        self.refuse_to_write("delete", "")?;
        let disk = self.disk();
        let paths = match &disk {
            Some(disk) => disk.objects_below(&self.prefix).map_err(|e| self.local_error("delete", "", e))?,
            None => RUNTIME.block_on(self.list_metas())?.into_iter().map(|meta| meta.location).collect(),
        };
        for paths in paths.chunks(DELETED_AT_ONCE) {
            let delete = |store: Opened| async move { delete_these(&store, paths.to_vec()).await };
            RUNTIME.block_on(self.operation("delete", "").request(delete))?;
        }
        let left = disk.map_or(Ok(()), |disk| disk.remove_what_is_left(&self.prefix));
        left.map_err(|error| self.local_error("delete", "", error))
    }

    /// On a local disk, removes the folder if nothing is in it; elsewhere there are no empty folders.
    pub fn remove_if_empty(&self) {
        if let Some(disk) = self.disk() {
            // One that is not empty stays.
            let _ = disk.remove_if_empty(&self.prefix);
        }
    }

    /// Removes what writers that were killed have left in this folder of objects whose names are `ours`: on a local disk an
    /// object is written under another name first. Nobody may be writing. (In an object store, unfinished uploads are not
    /// objects; a rule of the bucket removes them.)
    pub fn remove_unfinished(&self, ours: impl Fn(&str) -> bool) {
        if let Some(disk) = self.disk() {
            // A folder that is not there has nothing in it.
            let _ = disk.remove_unfinished(&self.prefix, ours);
        }
    }

    /// An error if nothing can be written to this folder, or deleted from it, because it lies behind a symbolic link below
    /// the folder that was opened first.
    pub fn refuse_links(&self) -> Result<()> {
        self.refuse_links_to("object")
    }

    pub(super) fn refuse_links_to(&self, name: &str) -> Result<()> {
        let refused = self.disk().map_or(Ok(()), |disk| disk.refuse_links(&self.path(name)));
        refused.map_err(|error| self.local_error("write", name, error))
    }

    /// The folder on a local disk that this one is, if it is.
    pub fn local(&self) -> Option<std::path::PathBuf> {
        self.store.is_local().then(|| FilePath::new("/").join(self.prefix.as_ref()))
    }

    fn disk(&self) -> Option<Disk> {
        self.store.disk(true)
    }

    /// The same, where nothing is between this folder and it.
    pub(super) fn plain_disk(&self) -> Option<Disk> {
        self.disk().filter(|_| !self.store.is_layered())
    }

    /// The file that an object is, where the store is a local disk.
    pub(super) fn file(&self, name: &str) -> Option<std::path::PathBuf> {
        let is_local = self.store.is_local();
        is_local.then(|| LocalFileSystem::new().path_to_filesystem(&self.path(name)).ok()).flatten()
    }

    /// What the system says about an object on a local disk.
    pub(super) fn local_error(&self, operation: &'static str, name: &str, error: std::io::Error) -> StorageError {
        let is_absent = error.kind() == std::io::ErrorKind::NotFound;
        let (path, source) = (self.path(name).to_string(), error.into());
        self.operation(operation, name).local(match is_absent {
            true => object_store::Error::NotFound { path, source },
            false => object_store::Error::Generic { store: "local disk", source },
        })
    }

    /// Where the object `name` lies: below this folder, whatever its name is. Parts are taken as they are, so that a name from
    /// [`Folder::list`] names its object whatever characters it has; only what no store could hold (`..`, control characters) is
    /// encoded, and empty parts are left out.
    pub(super) fn path(&self, name: &str) -> Path {
        let part = |part| PathPart::parse(part).unwrap_or_else(|_| PathPart::from(part));
        name.split('/').filter(|part| !part.is_empty()).fold(self.prefix.clone(), |path, name| path.join(part(name)))
    }

    pub(super) fn refuse_to_write(&self, operation: &'static str, name: &str) -> Result<()> {
        if !self.store.is_web() {
            return Ok(());
        }
        let reason = "http(s):// can only be read".to_owned();
        Err(StorageError::Refused { url: self.url_of(name), operation, reason })
    }
}

/// Deletes `paths`; those that are gone already are no error.
async fn delete_these(store: &Opened, paths: Vec<Path>) -> object_store::Result<()> {
    let mut deleted = store.objects.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
    while let Some(result) = deleted.next().await {
        match result {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

// What every store must do is in the package `tests`, which has an S3 server: tests/src/storage_conformance.rs.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_code::ExitCode;
    #[test]
    fn unknown_schemes_are_refused_as_config() {
        let error = Folder::open("ftp://host/x", &StorageConfig::default()).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Config);
        assert!(error.to_string().contains("unknown scheme ftp://"), "{error}");
    }
}
