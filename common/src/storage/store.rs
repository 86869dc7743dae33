//! The bucket, server or file system of a URL. It can be opened again to renew credentials that the server rejects as
//! expired before their time.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};

use object_store::MultipartUpload;
use object_store::path::Path;
use tokio::sync::Semaphore;
use url::Url;

use super::disk::{Disk, Ways};
use super::error::root_cause;
use super::layer::{self, Layer};
use super::open::{Opened, open};
use crate::config::StorageConfig;
use crate::secrets::without_secrets;

/// Permits for the requests in flight of this process, for each value of `storage.concurrency`; a run has one value.
static REQUESTS: LazyLock<Mutex<HashMap<u64, Arc<Semaphore>>>> = LazyLock::new(Mutex::default);

/// The bucket, server or file system of a URL.
pub(super) struct Store {
    url: Url,
    pub(super) config: StorageConfig,
    opened: RwLock<Opened>,
    /// Layer that every request passes, in tests.
    layer: Option<Arc<dyn Layer>>,
    has_answered: AtomicBool,
    /// Permits for requests; one is held while a request is in flight.
    pub(super) requests: Arc<Semaphore>,
    /// How large files are written to a local disk.
    pub(super) ways: Arc<Ways>,
}

impl Store {
    /// Opens the store of `url`. Makes no request yet.
    pub(super) fn open(url: &Url, config: &StorageConfig) -> std::result::Result<Self, String> {
        let mut requests = REQUESTS.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = config.concurrency;
        let requests = requests.entry(limit).or_insert_with(|| Arc::new(Semaphore::new(limit as usize))).clone();
        Ok(Store {
            url: url.clone(),
            config: config.clone(),
            opened: RwLock::new(open(url, config).map_err(|error| reason(&error))?),
            layer: None,
            has_answered: AtomicBool::new(false),
            requests,
            ways: Arc::default(),
        })
    }

    pub(super) fn opened(&self) -> Opened {
        match &self.layer {
            Some(layer) => layer::behind(layer, self.unlayered()),
            None => self.unlayered(),
        }
    }

    /// Opens the store anew, which looks for credentials as at the start.
    pub(super) fn reopen(&self) {
        match open(&self.url, &self.config) {
            Ok(opened) => *self.opened.write().unwrap_or_else(PoisonError::into_inner) = opened,
            Err(error) => {
                let (url, reason) = (without_secrets(self.url.as_str()), reason(&error));
                tracing::warn!("cannot renew the credentials of {url}: {reason}");
            }
        }
    }

    /// Returns this store with writes that a local disk need not sync.
    pub(super) fn relaxed(&self) -> Self {
        match self.disk(false) {
            Some(disk) => self.with(Opened::whole(Arc::new(disk)), self.layer.clone()),
            None => self.with(self.unlayered(), self.layer.clone()),
        }
    }

    /// Returns the folder on a disk of this machine that was opened, if the store is one.
    pub(super) fn disk(&self, is_durable: bool) -> Option<Disk> {
        let root = Path::from_url_path(self.url.path()).ok();
        root.filter(|_| self.is_local()).map(|root| Disk::open(root, is_durable))
    }

    /// Returns this store behind `layer`.
    pub(super) fn behind(&self, layer: Arc<dyn Layer>) -> Self {
        self.with(self.unlayered(), Some(layer))
    }

    /// Begins an upload to `path` that bypasses the store but passes its layer.
    pub(super) fn begin_upload(
        &self,
        path: String,
        begin: impl FnOnce() -> object_store::Result<Box<dyn MultipartUpload>>,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        match &self.layer {
            Some(layer) => layer::upload_behind(layer, path, begin),
            None => begin(),
        }
    }

    fn with(&self, opened: Opened, layer: Option<Arc<dyn Layer>>) -> Self {
        Store {
            url: self.url.clone(),
            config: self.config.clone(),
            opened: RwLock::new(opened),
            layer,
            has_answered: AtomicBool::new(self.has_answered()),
            requests: self.requests.clone(),
            ways: self.ways.clone(),
        }
    }

    fn unlayered(&self) -> Opened {
        self.opened.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether the store is on another machine, so that requests can fail and stall.
    pub(super) fn is_remote(&self) -> bool {
        !matches!(self.url.scheme(), "file" | "memory")
    }

    /// Returns whether the store is a disk of this machine.
    pub(super) fn is_local(&self) -> bool {
        self.url.scheme() == "file"
    }

    /// Returns whether the store is a plain web server: no credentials, no writes, and no order in its listings.
    pub(super) fn is_web(&self) -> bool {
        matches!(self.url.scheme(), "http" | "https")
    }

    /// Returns whether requests pass a layer.
    pub(super) fn is_layered(&self) -> bool {
        self.layer.is_some()
    }

    /// Returns whether requests carry a query, which is most often a signature and valid for GET only.
    pub(super) fn has_query(&self) -> bool {
        self.is_web() && self.url.query().is_some()
    }

    /// Returns whether the store has answered a request of this process. If so, the credentials were valid.
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered.load(Ordering::Relaxed)
    }

    pub(super) fn note_answer(&self) {
        self.has_answered.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("url", &without_secrets(self.url.as_str())).finish_non_exhaustive()
    }
}

/// Returns why a store cannot be opened.
fn reason(error: &object_store::Error) -> String {
    match error {
        // An error of this module's own.
        object_store::Error::NotSupported { source } => source.to_string(),
        other => without_secrets(&root_cause(other)).into_owned(),
    }
}
