//! A prefix in an object store, and the operations on one or all objects below it.
//!
//! Listing, reading, uploading and the deadline of an operation have their own files.

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

/// Size above which objects are uploaded in parts, and size of the parts, in bytes.
pub const PART_BYTES: usize = 32 << 20;

/// Number of objects that one operation deletes: the most that S3 deletes by one request.
const DELETED_AT_ONCE: usize = 1_000;

/// A prefix in an object store. Names given to its methods are relative to it, with `/` between their parts.
#[derive(Debug, Clone)]
pub struct Folder {
    pub(super) store: Arc<Store>,
    pub(super) prefix: Path,
    pub(super) url: String,
}

impl Folder {
    /// Opens the folder at `url`, which need not exist. Makes no request yet.
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

    /// Opens the folder of the object at `url`, to write the object there. Returns the folder and the object's name.
    pub fn of_object(url: &str, config: &StorageConfig) -> Result<(Self, String)> {
        let parent = Self::open(url, config)?.parent();
        let mut above = absolute_url(url)?;
        let refuse = || StorageError::Url {
            url: without_secrets(above.as_str()).into_owned(),
            reason: "it names no object in a folder".into(),
        };
        let (_, name) = parent.ok_or_else(refuse)?;
        if let Ok(mut segments) = above.path_segments_mut() {
            segments.pop_if_empty().pop();
        }
        // A store writes only below the folder that it was opened for.
        Ok((Self::open(above.as_str(), config)?, name))
    }

    /// Returns the folder `name` inside this one.
    pub fn folder(&self, name: &str) -> Folder {
        Folder { prefix: self.path(name), url: self.url_of(name), ..self.clone() }
    }

    /// Returns this folder for objects that can be regenerated. On a local disk, their writes are not synced, so a machine
    /// that loses power may lose them, or parts of them. Killing a process loses nothing.
    pub fn for_what_can_be_made_again(&self) -> Folder {
        Folder { store: Arc::new(self.store.relaxed()), ..self.clone() }
    }

    /// Returns this folder behind `layer`, which may make any request fail.
    pub fn behind(&self, layer: Arc<dyn Layer>) -> Folder {
        Folder { store: Arc::new(self.store.behind(layer)), ..self.clone() }
    }

    /// Returns the parent folder and this folder's name in it, or `None` at the root.
    pub fn parent(&self) -> Option<(Folder, String)> {
        let (url, _) = self.url.rsplit_once('/')?;
        let mut parts: Vec<_> = self.prefix.parts().collect();
        let name = parts.pop()?.as_ref().to_owned();
        Some((Folder { prefix: parts.into_iter().collect(), url: url.to_owned(), ..self.clone() }, name))
    }

    /// Returns the absolute URL without its secrets: to show, not to open.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the absolute URL of an object.
    pub fn url_of(&self, name: &str) -> String {
        if name.is_empty() { self.url.clone() } else { format!("{}/{name}", self.url) }
    }

    /// Returns the number of requests that may be in flight at once: `storage.concurrency`.
    pub fn concurrency(&self) -> usize {
        self.store.config.concurrency as usize
    }

    /// Reads a whole object.
    pub fn get(&self, name: &str) -> Result<Bytes> {
        RUNTIME.block_on(self.read(name, None))
    }

    /// Reads a whole object, or returns `None` if it does not exist.
    pub fn get_if_exists(&self, name: &str) -> Result<Option<Bytes>> {
        match self.get(name) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a whole object of at most `bytes_max` bytes. Returns `None` if it does not exist, and empty bytes if it is larger.
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

    /// Reads bytes `range` of an object.
    pub fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        RUNTIME.block_on(self.read(name, Some(range)))
    }

    /// Returns the size of an object in bytes.
    pub fn size(&self, name: &str) -> Result<u64> {
        self.info(name).map(|info| info.bytes)
    }

    /// Returns whether an object exists. Asks the store about this object alone, since a listing may be stale.
    pub fn exists(&self, name: &str) -> Result<bool> {
        match self.info(name) {
            Ok(_) => Ok(true),
            Err(StorageError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the size, version and time of change of an object without reading it.
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

    /// Writes an object, replacing any that exists. The object is durable when this returns.
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

    /// Writes an object that must not exist yet. Of several writers one wins, and the others get
    /// [`StorageError::AlreadyExists`].
    ///
    /// `content` must be unique to the writer. A retry after a lost answer finds the writer's own object, and tells it from
    /// a competitor's by reading it back.
    pub fn create(&self, name: &str, content: Bytes) -> Result<()> {
        self.refuse_to_write("create", name)?;
        match RUNTIME.block_on(self.create_or_read_back(name, &content))? {
            true => Ok(()),
            false => Err(StorageError::AlreadyExists { url: self.url_of(name) }),
        }
    }

    /// Returns whether the object now exists with this content. A store may say that an object exists while another writer,
    /// whose creation fails in the end, is creating it. Nothing can be read back then, and this tries again.
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

    /// Removes an object. An object that does not exist is no error.
    pub fn delete(&self, name: &str) -> Result<()> {
        self.refuse_to_write("delete", name)?;
        let path = &self.path(name);
        let delete = self.operation("delete", name).request(|store| async move { store.objects.delete(path).await });
        match RUNTIME.block_on(delete) {
            Ok(()) | Err(StorageError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// On a local disk, waits until deletions from this folder are durable. In other stores they are durable at once.
    pub fn make_deletions_durable(&self) {
        if let Some(disk) = self.disk() {
            // A folder that does not exist has nothing to lose.
            let _ = disk.sync(&self.prefix);
        }
    }

    /// Removes all objects below this folder, and nothing else, regardless of the keys that a store lists and of where
    /// symbolic links lead. On a local disk, also removes links, unfinished objects, and the folders that are then empty. If
    /// this folder is itself a link, only the link is removed.
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

    /// On a local disk, removes the folder if it is empty. Other stores have no empty folders.
    pub fn remove_if_empty(&self) {
        if let Some(disk) = self.disk() {
            // A folder that is not empty stays.
            let _ = disk.remove_if_empty(&self.prefix);
        }
    }

    /// Removes unfinished objects whose names are `ours`, left in this folder by writers that were killed: on a local disk
    /// an object is first written under another name. Nobody may be writing meanwhile. (In an object store, unfinished
    /// uploads are not objects; a rule of the bucket removes them.)
    pub fn remove_unfinished(&self, ours: impl Fn(&str) -> bool) {
        if let Some(disk) = self.disk() {
            // A folder that does not exist has nothing in it.
            let _ = disk.remove_unfinished(&self.prefix, ours);
        }
    }

    /// Fails if nothing can be written to this folder, or deleted from it, because it lies behind a symbolic link below the
    /// folder that was opened first.
    pub fn refuse_links(&self) -> Result<()> {
        self.refuse_links_to("object")
    }

    pub(super) fn refuse_links_to(&self, name: &str) -> Result<()> {
        let refused = self.disk().map_or(Ok(()), |disk| disk.refuse_links(&self.path(name)));
        refused.map_err(|error| self.local_error("write", name, error))
    }

    /// Returns the path of this folder if it is on a local disk.
    pub fn local(&self) -> Option<std::path::PathBuf> {
        self.store.is_local().then(|| FilePath::new("/").join(self.prefix.as_ref()))
    }

    fn disk(&self) -> Option<Disk> {
        self.store.disk(true)
    }

    /// Returns the local disk that this folder is on, unless a layer lies between them.
    pub(super) fn plain_disk(&self) -> Option<Disk> {
        self.disk().filter(|_| !self.store.is_layered())
    }

    /// Returns the file of an object if the store is a local disk.
    pub(super) fn file(&self, name: &str) -> Option<std::path::PathBuf> {
        let is_local = self.store.is_local();
        is_local.then(|| LocalFileSystem::new().path_to_filesystem(&self.path(name)).ok()).flatten()
    }

    /// Converts an error of the system about an object on a local disk.
    pub(super) fn local_error(&self, operation: &'static str, name: &str, error: std::io::Error) -> StorageError {
        let is_absent = error.kind() == std::io::ErrorKind::NotFound;
        let (path, source) = (self.path(name).to_string(), error.into());
        self.operation(operation, name).local(match is_absent {
            true => object_store::Error::NotFound { path, source },
            false => object_store::Error::Generic { store: "local disk", source },
        })
    }

    /// Returns the path of the object `name`, which is below this folder for any name. Parts are taken as they are, so a
    /// name from [`Folder::list`] always names its object. Only what no store could hold (`..`, control characters) is
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

/// Deletes `paths`. Paths that do not exist are no error.
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

// The conformance suite for all stores is in the package `tests`, which has an S3 server: tests/src/storage_conformance.rs.
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

    #[test]
    fn an_object_is_written_to_the_disk_by_its_own_url() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a folder/new?/an object");
        let (folder, name) = Folder::of_object(path.to_str().unwrap(), &StorageConfig::default()).unwrap();
        assert_eq!(name, "an object");
        folder.put(&name, "here".into()).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"here");
        let error = Folder::of_object("memory://box", &StorageConfig::default()).unwrap_err();
        assert!(error.to_string().contains("names no object"), "{error}");
    }
}
