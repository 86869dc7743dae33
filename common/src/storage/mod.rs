//! A URL becomes a [`Folder`] in an object store: `s3://`, `gs://`, `az://`, `http(s)://` (read only), `file://` or a
//! plain path, and `memory://` for tests.
//!
//! Operations block the calling thread while a small shared runtime does the I/O; callers that must not wait run them
//! on threads of their own. Credentials come from the standard chain of each cloud (for S3: environment, web identity,
//! container, instance). Transient errors are retried with back-off and jitter until `storage.deadline_s`.
//!
//! - [`Reader`]: an object from front to back, fetched ahead of its reader.
//! - [`Upload`]: an object that is written piece by piece.
//!
//! Absent on purpose: renaming and appending, which object stores do not have.

mod reader;
mod upload;

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::{Path, PathPart};
use object_store::{
    BackoffConfig, ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig,
    WriteMultipart,
};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use crate::config::StorageConfig;
use crate::worker_contract::ExitCode;
pub use reader::Reader;
pub use upload::Upload;

/// Objects above this size are uploaded in parts of it.
pub const PART_BYTES: usize = 32 << 20;
/// Why an operation on a store failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// The URL names nothing that can be opened.
    #[error("cannot open {url}: {reason}; use s3://, gs://, az://, http(s)://, file:// or a path")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No such object.
    #[error("{url} does not exist")]
    NotFound {
        /// The object.
        url: String,
    },
    /// A create-only put found an object of somebody else's.
    #[error("{url} exists already")]
    AlreadyExists {
        /// The object.
        url: String,
    },
    /// The store refuses the credentials, or there are none.
    #[error("{operation} {url}: access denied: {reason}; check the credentials in this process's environment")]
    Denied {
        /// The object.
        url: String,
        /// What was tried.
        operation: &'static str,
        /// What the store said.
        reason: String,
    },
    /// The store did not answer within the deadline, or answered with errors until then.
    #[error(
        "{operation} {url}: storage did not do it within storage.deadline_s = {deadline_s}: {reason}; \
         check that the store is up and reachable from here"
    )]
    Unreachable {
        /// The object.
        url: String,
        /// What was tried.
        operation: &'static str,
        /// `storage.deadline_s`.
        deadline_s: u64,
        /// The last cause.
        reason: String,
    },
    /// The local file system refused, for example because the disk is full.
    #[error("{operation} {url}: {reason}")]
    Local {
        /// The object.
        url: String,
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        reason: String,
    },
}

impl StorageError {
    /// What a process that ends because of this exits with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            StorageError::Url { .. } => ExitCode::Config,
            StorageError::NotFound { .. } | StorageError::AlreadyExists { .. } | StorageError::Denied { .. } => {
                ExitCode::Data
            }
            StorageError::Unreachable { .. } | StorageError::Local { .. } => ExitCode::Storage,
        }
    }
}

type Result<T> = std::result::Result<T, StorageError>;

/// The threads that do I/O for every [`Folder`] of this process.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("storage")
        .enable_all()
        .build()
        .unwrap_or_else(|e| panic!("cannot start the storage threads: {e}"))
});

/// The stores behind `memory://` URLs: one per host name, shared by the process.
static MEMORY: LazyLock<Mutex<HashMap<String, Arc<InMemory>>>> = LazyLock::new(Mutex::default);

/// A prefix in an object store; names given to its methods are relative to it, with `/` between their parts.
#[derive(Debug, Clone)]
pub struct Folder {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    url: String,
    deadline_s: u64,
    concurrency: usize,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Name relative to the folder.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Changes when the content does: the store's entity tag, or the time of the last change where it has none.
    pub version: String,
}

impl ObjectInfo {
    fn new(name: String, meta: ObjectMeta) -> Self {
        let version = meta.e_tag.unwrap_or_else(|| meta.last_modified.to_rfc3339());
        ObjectInfo { name, bytes: meta.size, version }
    }
}

impl Folder {
    /// Opens the folder at `url`, which need not exist. No request is made yet.
    pub fn open(url: &str, config: &StorageConfig) -> Result<Self> {
        let url = absolute_url(url)?;
        let refuse = |reason: String| StorageError::Url { url: url.to_string(), reason };
        let (store, prefix) = open_store(&url, config).map_err(|e| refuse(root_cause(&e)))?;
        Ok(Folder {
            store,
            prefix,
            url: url.as_str().trim_end_matches('/').to_owned(),
            deadline_s: config.deadline_s,
            concurrency: config.concurrency as usize,
        })
    }

    /// The folder `name` inside this one.
    pub fn folder(&self, name: &str) -> Folder {
        Folder { prefix: self.path(name), url: self.url_of(name), ..self.clone() }
    }

    /// The folder that this one is in, and its name there; `None` at the root.
    pub fn parent(&self) -> Option<(Folder, String)> {
        let (url, _) = self.url.rsplit_once('/')?;
        let mut parts: Vec<_> = self.prefix.parts().collect();
        let name = parts.pop()?.as_ref().to_owned();
        Some((Folder { prefix: parts.into_iter().collect(), url: url.to_owned(), ..self.clone() }, name))
    }

    /// The absolute URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The absolute URL of an object.
    pub fn url_of(&self, name: &str) -> String {
        if name.is_empty() { self.url.clone() } else { format!("{}/{name}", self.url) }
    }

    /// How many requests may be in flight at once: `storage.concurrency`.
    pub fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// The whole object.
    pub fn get(&self, name: &str) -> Result<Bytes> {
        let path = self.path(name);
        RUNTIME
            .block_on(async { self.store.get(&path).await?.bytes().await })
            .map_err(|e| self.explain("read", name, e))
    }

    /// The whole object, or `None` where there is none.
    pub fn get_if_exists(&self, name: &str) -> Result<Option<Bytes>> {
        match self.get(name) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bytes `range` of an object.
    pub fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        let path = self.path(name);
        RUNTIME.block_on(self.store.get_range(&path, range)).map_err(|e| self.explain("read", name, e))
    }

    /// Size of an object in bytes.
    pub fn size(&self, name: &str) -> Result<u64> {
        self.info(name).map(|info| info.bytes)
    }

    /// What there is to know about an object without reading it.
    pub fn info(&self, name: &str) -> Result<ObjectInfo> {
        let path = self.path(name);
        let meta = RUNTIME.block_on(self.store.head(&path)).map_err(|e| self.explain("look up", name, e))?;
        Ok(ObjectInfo::new(name.to_owned(), meta))
    }

    /// Writes an object, replacing what is there; durable when this returns.
    pub fn put(&self, name: &str, content: Bytes) -> Result<()> {
        let path = self.path(name);
        let put = async {
            if content.len() <= PART_BYTES {
                self.store.put(&path, PutPayload::from_bytes(content)).await?;
                return Ok(());
            }
            let upload = self.store.put_multipart(&path).await?;
            let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
            let mut rest = content;
            while !rest.is_empty() {
                writer.wait_for_capacity(self.concurrency).await?;
                writer.put(rest.split_to(rest.len().min(PART_BYTES)));
            }
            writer.finish().await.map(|_| ())
        };
        RUNTIME.block_on(put).map_err(|e| self.explain("write", name, e))
    }

    /// Writes an object that must not exist yet; of several writers one wins, the others get
    /// [`StorageError::AlreadyExists`].
    ///
    /// `content` must be unique to the writer: a retry after an answer that got lost finds its own object, and is told
    /// from a competitor's by reading it back.
    pub fn create(&self, name: &str, content: Bytes) -> Result<()> {
        let path = self.path(name);
        let payload = PutPayload::from_bytes(content.clone());
        let put = self.store.put_opts(&path, payload, PutMode::Create.into());
        match RUNTIME.block_on(put) {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => match self.get(name)? == content {
                true => Ok(()),
                false => Err(StorageError::AlreadyExists { url: self.url_of(name) }),
            },
            Err(error) => Err(self.explain("create", name, error)),
        }
    }

    /// Removes an object; one that is gone already is no error.
    pub fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        match RUNTIME.block_on(self.store.delete(&path)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.explain("delete", name, error)),
        }
    }

    /// Removes all objects below this folder, and on a local disk the folders that are empty then.
    pub fn delete_all(&self) -> Result<()> {
        let paths = self.store.list(Some(&self.prefix)).map_ok(|meta| meta.location).boxed();
        let deleted = self.store.delete_stream(paths).try_for_each(|_| async { Ok(()) });
        match RUNTIME.block_on(deleted) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(self.explain("delete", "", error)),
        }
        self.remove_unfinished();
        if let Some(folder) = self.local() {
            remove_empty_folders(&folder);
        }
        Ok(())
    }

    /// On a local disk, removes the folder if nothing is in it; elsewhere there are no empty folders.
    pub fn remove_if_empty(&self) {
        if let Some(folder) = self.local() {
            // One that is not empty stays.
            let _ = std::fs::remove_dir(folder);
        }
    }

    /// Removes what writers that were killed have left below this folder: on a local disk an object is written under
    /// another name first. Nobody may be writing. (In an object store, unfinished uploads are not objects; a rule of the
    /// bucket removes them.)
    pub fn remove_unfinished(&self) {
        if let Some(folder) = self.local() {
            remove_staged(&folder);
        }
    }

    /// The folder on a local disk that this one is, if it is.
    pub fn local(&self) -> Option<std::path::PathBuf> {
        Url::parse(&self.url).ok().and_then(|url| url.to_file_path().ok())
    }

    /// All objects below this folder, by name; empty where there is nothing.
    pub fn list(&self) -> Result<Vec<ObjectInfo>> {
        let objects: Vec<_> = RUNTIME
            .block_on(self.store.list(Some(&self.prefix)).try_collect())
            .map_err(|e| self.explain("list", "", e))?;
        let mut infos: Vec<_> = objects
            .into_iter()
            .filter_map(|meta| {
                let parts: Vec<_> = meta.location.prefix_match(&self.prefix)?.collect();
                let name = parts.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("/");
                Some(ObjectInfo::new(name, meta))
            })
            .collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(infos)
    }

    /// Names of the folders directly inside this one, sorted.
    pub fn list_folders(&self) -> Result<Vec<String>> {
        let listing = RUNTIME
            .block_on(self.store.list_with_delimiter(Some(&self.prefix)))
            .map_err(|e| self.explain("list", "", e))?;
        let mut names: Vec<_> =
            listing.common_prefixes.iter().filter_map(|p| p.filename().map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }

    /// Parts are taken as they are, so that a name from [`Folder::list`] names its object whatever characters it has;
    /// only what no store could hold (`..`, control characters) is encoded.
    fn path(&self, name: &str) -> Path {
        let part = |part| PathPart::parse(part).unwrap_or_else(|_| PathPart::from(part));
        name.split('/').filter(|part| !part.is_empty()).fold(self.prefix.clone(), |path, name| path.join(part(name)))
    }

    fn explain(&self, operation: &'static str, name: &str, error: object_store::Error) -> StorageError {
        use object_store::Error as E;
        let url = self.url_of(name);
        let reason = root_cause(&error);
        match error {
            E::NotFound { .. } => StorageError::NotFound { url },
            E::AlreadyExists { .. } => StorageError::AlreadyExists { url },
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => StorageError::Denied { url, operation, reason },
            // A listing that is refused fails with a generic error, whose text alone has the status.
            _ if has_status(&reason, &[401, 403]) => StorageError::Denied { url, operation, reason },
            _ if is_about_credentials(&reason) => {
                let set = credential_variables(&url);
                let reason =
                    format!("no credentials were found; set {set}, or run where the cloud gives them ({reason})");
                StorageError::Denied { url, operation, reason }
            }
            _ if has_status(&reason, &[404]) => StorageError::NotFound { url },
            _ if self.url.starts_with("file:") => StorageError::Local { url, operation, reason },
            _ => StorageError::Unreachable { url, operation, deadline_s: self.deadline_s, reason },
        }
    }
}

/// Removes the files below `folder` that are called as the local store calls what it has not finished: `name#1`.
fn remove_staged(folder: &FilePath) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_staged = name.rsplit_once('#').is_some_and(|(_, number)| number.parse::<u32>().is_ok());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => remove_staged(&entry.path()),
            Ok(kind) if kind.is_file() && is_staged => drop(std::fs::remove_file(entry.path())),
            _ => {}
        }
    }
}

/// Removes `folder` and those below it that are empty. One that is not, or not any more, stays.
fn remove_empty_folders(folder: &FilePath) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty_folders(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(folder);
}

/// Whether the server's last answer had one of these HTTP statuses.
fn has_status(reason: &str, statuses: &[u16]) -> bool {
    statuses.iter().any(|status| reason.contains(&format!("non-2xx status code: {status}")))
}

/// A missing key shows itself only when the last link of the chain, the cloud's metadata service, does not answer.
fn is_about_credentials(reason: &str) -> bool {
    ["169.254.169.254", "/latest/api/token", "metadata.google.internal", "computeMetadata", "credential"]
        .iter()
        .any(|mark| reason.contains(mark))
}

/// The environment variables that give credentials for `url`, to name in an error.
fn credential_variables(url: &str) -> &'static str {
    match url.split("://").next() {
        Some("s3" | "s3a") => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        Some("gs") => "GOOGLE_APPLICATION_CREDENTIALS",
        _ => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    }
}

/// The messages of an error and of everything that caused it, without repetition.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `url` as an absolute URL; a plain path is a local file or folder, relative to the working directory.
pub fn absolute_url(url: &str) -> Result<Url> {
    let refuse = |reason: &str| StorageError::Url { url: url.to_owned(), reason: reason.to_owned() };
    if url.contains("://") {
        return Url::parse(url).map_err(|e| refuse(&e.to_string()));
    }
    let path = std::path::absolute(FilePath::new(url)).map_err(|e| refuse(&e.to_string()))?;
    Url::from_file_path(without_parents(&path)).map_err(|()| refuse("it is not a path"))
}

/// `path` without `..`, which no store has: as the system sees it where the folders are there, by its letters otherwise.
fn without_parents(path: &FilePath) -> std::path::PathBuf {
    let mut plain = std::path::PathBuf::new();
    for component in path.components() {
        if component == std::path::Component::ParentDir {
            plain = plain.canonicalize().unwrap_or(plain);
            plain.pop();
        } else {
            plain.push(component);
        }
    }
    plain
}

/// Retries with back-off and jitter until `deadline` has passed; it is time that counts, not how often.
fn retry_for(deadline: Duration) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() },
        max_retries: usize::MAX,
        retry_timeout: deadline,
    }
}

/// How long to look for the credentials of the instance that this runs on, where the environment gives none. Most often
/// there is no such service to answer, and a person waits for the message.
const INSTANCE_CREDENTIALS_DEADLINE: Duration = Duration::from_secs(5);

/// An S3 bucket. Its credentials come from the environment, or from services that are asked when they are needed and
/// again before they expire.
fn open_s3(url: &Url, retry: RetryConfig, options: ClientOptions) -> object_store::Result<AmazonS3> {
    let plain = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3"]
        .iter()
        .any(|name| std::env::var(name).is_ok_and(|value| value.starts_with("http://")));
    let options = options.with_allow_http(plain);
    let builder = || AmazonS3Builder::from_env().with_url(url.as_str()).with_client_options(options.clone());
    let mut store = builder().with_retry(retry);
    if std::env::var_os("AWS_ACCESS_KEY_ID").is_none() {
        let impatient = builder().with_retry(retry_for(INSTANCE_CREDENTIALS_DEADLINE)).build()?;
        store = store.with_credentials(impatient.credentials().clone());
    }
    store.build()
}

fn open_store(url: &Url, config: &StorageConfig) -> object_store::Result<(Arc<dyn ObjectStore>, Path)> {
    let in_bucket = || Path::from_url_path(url.path());
    let retry = retry_for(Duration::from_secs(config.deadline_s));
    let options = ClientOptions::new()
        .with_timeout(Duration::from_secs(config.request_timeout_s))
        .with_connect_timeout(Duration::from_secs(config.request_timeout_s.min(10)));
    let store: Arc<dyn ObjectStore> = match url.scheme() {
        "file" => Arc::new(LocalFileSystem::new().with_fsync(true)),
        "memory" => {
            let mut stores = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
            stores.entry(url.host_str().unwrap_or_default().to_owned()).or_default().clone()
        }
        "s3" | "s3a" => Arc::new(open_s3(url, retry, options)?),
        "gs" => {
            let builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).with_retry(retry);
            Arc::new(builder.with_client_options(options).build()?)
        }
        "az" | "azure" | "abfs" | "abfss" => {
            let builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_retry(retry);
            Arc::new(builder.with_client_options(options).build()?)
        }
        "http" | "https" => {
            let root = &url[..url::Position::BeforePath];
            let builder = HttpBuilder::new().with_url(root).with_retry(retry);
            Arc::new(builder.with_client_options(options.with_allow_http(true)).build()?)
        }
        other => {
            return Err(object_store::Error::NotSupported { source: format!("unknown scheme {other}://").into() });
        }
    };
    Ok((store, in_bucket()?))
}

// What every store must do is in the package `tests`, which has an S3 server: tests/src/storage_conformance.rs.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_schemes_are_refused_as_config() {
        let error = Folder::open("ftp://host/x", &StorageConfig::default()).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Config);
        assert!(error.to_string().contains("unknown scheme ftp://"), "{error}");
    }

    #[test]
    fn paths_lead_up_as_the_system_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::os::unix::fs::symlink(root.join("a/b"), root.join("link")).unwrap();
        for (path, expected) in [("a/b/../x", "a/x"), ("link/../x", "a/x"), ("not/there/../../x/.", "x"), ("x", "x")] {
            let url = absolute_url(root.join(path).to_str().unwrap()).unwrap();
            assert_eq!(url.to_file_path().unwrap(), root.join(expected), "{path}");
        }
    }
}
