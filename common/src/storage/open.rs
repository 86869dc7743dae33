//! A URL becomes a store, which can be opened again: that is how credentials are renewed that the server says have run
//! out before their time.

use std::collections::HashMap;
use std::fmt;
use std::path::{Component, Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as S3Key};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, MultipartUpload, ObjectStore, RetryConfig};
use tokio::sync::Semaphore;
use url::{Position, Url};

use super::disk::Disk;
use super::disk_upload::Ways;
use super::error::root_cause;
use super::layer::{self, Layer};
use super::odd_keys::WithoutOddKeys;
use super::{Result, StorageError, aws_profile};
use crate::config::StorageConfig;
use crate::secrets::{self, unparsed, without_secrets};

/// The stores behind `memory://` URLs: one per host name, shared by the process.
static MEMORY: LazyLock<Mutex<HashMap<String, Arc<InMemory>>>> = LazyLock::new(Mutex::default);

/// The requests that this process may have in flight, for each value of `storage.concurrency`: a run has one.
static REQUESTS: LazyLock<Mutex<HashMap<u64, Arc<Semaphore>>>> = LazyLock::new(Mutex::default);

/// The bucket, server or file system that a URL is in.
pub(super) struct Store {
    url: Url,
    pub(super) config: StorageConfig,
    opened: RwLock<Opened>,
    /// What every request goes through, where a test wants that.
    layer: Option<Arc<dyn Layer>>,
    has_answered: AtomicBool,
    /// A permit is held while a request is in flight.
    pub(super) requests: Arc<Semaphore>,
    /// How large files reach a local disk.
    pub(super) ways: Arc<Ways>,
}

/// What requests are made to.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) objects: Arc<dyn ObjectStore>,
    /// The same, where an object can be uploaded part by part.
    pub(super) parts: Option<Arc<dyn MultipartStore>>,
}

impl Opened {
    fn whole(objects: Arc<dyn ObjectStore>) -> Self {
        Opened { objects, parts: None }
    }

    fn with_parts<S: ObjectStore + MultipartStore>(store: Arc<S>) -> Self {
        Opened { objects: store.clone(), parts: Some(store) }
    }
}

impl Store {
    /// No request is made yet.
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

    /// Opens it anew: credentials are looked for as at the start.
    pub(super) fn reopen(&self) {
        match open(&self.url, &self.config) {
            Ok(opened) => *self.opened.write().unwrap_or_else(PoisonError::into_inner) = opened,
            Err(error) => {
                let (url, reason) = (without_secrets(self.url.as_str()), reason(&error));
                tracing::warn!("cannot renew the credentials of {url}: {reason}");
            }
        }
    }

    /// The same, but that a local disk may take its time to make objects durable.
    pub(super) fn relaxed(&self) -> Self {
        match self.disk(false) {
            Some(disk) => self.with(Opened::whole(Arc::new(disk)), self.layer.clone()),
            None => self.with(self.unlayered(), self.layer.clone()),
        }
    }

    /// The folder on a disk of this machine that was opened, if it is one.
    pub(super) fn disk(&self, is_durable: bool) -> Option<Disk> {
        let root = Path::from_url_path(self.url.path()).ok();
        root.filter(|_| self.is_local()).map(|root| Disk::open(root, is_durable))
    }

    /// The same behind `layer`.
    pub(super) fn behind(&self, layer: Arc<dyn Layer>) -> Self {
        self.with(self.unlayered(), Some(layer))
    }

    /// An upload to `path` that goes by no store, through whatever every request goes through.
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

    /// Whether it is somewhere else, so that requests fail and stall.
    pub(super) fn is_remote(&self) -> bool {
        !matches!(self.url.scheme(), "file" | "memory")
    }

    /// Whether it is a disk of this machine.
    pub(super) fn is_local(&self) -> bool {
        self.url.scheme() == "file"
    }

    /// Whether it is a plain web server: no credentials, nothing to write to, and no order in its listings.
    pub(super) fn is_web(&self) -> bool {
        matches!(self.url.scheme(), "http" | "https")
    }

    /// Whether requests go through a layer.
    pub(super) fn is_layered(&self) -> bool {
        self.layer.is_some()
    }

    /// Whether its requests carry a query: a signature, most often, and that one is good for nothing but GET.
    pub(super) fn has_query(&self) -> bool {
        self.is_web() && self.url.query().is_some()
    }

    /// Whether it has done anything for this process yet; then its credentials were good.
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

/// Why a store cannot be opened.
fn reason(error: &object_store::Error) -> String {
    match error {
        // The words of this module.
        object_store::Error::NotSupported { source } => source.to_string(),
        other => without_secrets(&root_cause(other)).into_owned(),
    }
}

/// `url` as an absolute URL; a plain path is a local file or folder, relative to the working directory. Only of web addresses `?`
/// and `#` are no part of the name.
pub fn absolute_url(url: &str) -> Result<Url> {
    let refuse = |reason: &str| StorageError::Url { url: unparsed(url), reason: reason.to_owned() };
    if url.contains("://") {
        let is_web = url.starts_with("http://") || url.starts_with("https://");
        let name = if is_web { url.to_owned() } else { url.replace('?', "%3F").replace('#', "%23") };
        let parsed = Url::parse(&name).map_err(|e| refuse(&e.to_string()))?;
        return secrets::refusal(&parsed).map_or(Ok(parsed), |reason| Err(refuse(reason)));
    }
    let path = std::path::absolute(FilePath::new(url)).map_err(|e| refuse(&e.to_string()))?;
    Url::from_file_path(without_parents(&path)).map_err(|()| refuse("it is not a path"))
}

/// `path` without `..`, which no store has: as the system sees it where the folders are there, by its letters otherwise.
fn without_parents(path: &FilePath) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            plain = plain.canonicalize().unwrap_or(plain);
            plain.pop();
        } else {
            plain.push(component);
        }
    }
    plain
}

/// The client never tries again and never gives up by itself: `retry.rs` does, which knows the deadline of the whole
/// operation and renews credentials in between. (The client's own time limit would end every body that is long.)
fn only_once() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, retry_timeout: Duration::ZERO }
}

/// Variables that name a server of one's own. Without encryption only if one of them asks for that.
const ENDPOINTS: [&str; 7] = [
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT",
    "AWS_ENDPOINT_URL_S3",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_ENDPOINT",
    "AZURITE_BLOB_STORAGE_URL",
    "GOOGLE_BASE_URL",
];

fn client_options(url: &Url, config: &StorageConfig) -> ClientOptions {
    let is_plain = |name: &str| std::env::var(name).is_ok_and(|value| value.starts_with("http://"));
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(config.connect_timeout_s))
        .with_allow_http(url.scheme() == "http" || ENDPOINTS.iter().any(|name| is_plain(name)))
}

/// What is an address, and what says so.
const S3_ENDPOINTS: [(S3Key, &str); 4] = [
    (S3Key::Endpoint, "AWS_ENDPOINT_URL, or the profile's endpoint_url,"),
    (S3Key::S3Endpoint, "AWS_ENDPOINT_URL_S3"),
    (S3Key::StsEndpoint, "AWS_ENDPOINT_URL_STS"),
    (S3Key::MetadataEndpoint, "AWS_METADATA_ENDPOINT"),
];
const AZURE_ENDPOINTS: [(AzureConfigKey, &str); 3] = [
    (AzureConfigKey::Endpoint, "AZURE_STORAGE_ENDPOINT"),
    (AzureConfigKey::MsiEndpoint, "IDENTITY_ENDPOINT"),
    (AzureConfigKey::AuthorityHost, "AZURE_AUTHORITY_HOST"),
];
const AZURITE: &str = "AZURITE_BLOB_STORAGE_URL";

/// Refuses an endpoint that the client could make no request by, and would panic: `localhost:9000`.
fn check_endpoint(name: &str, given: Option<String>) -> object_store::Result<()> {
    let Some(given) = given else { return Ok(()) };
    let is_whole = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
    if Url::parse(&given).is_ok_and(|url| is_whole(&url)) {
        return Ok(());
    }
    let given = unparsed(&given);
    Err(refused(format!("{given:?} is no endpoint; {name} needs http:// or https://, and a host")))
}

/// Refuses a region that cannot be part of a host name, as it becomes one.
fn check_region(given: Option<String>) -> object_store::Result<()> {
    match given.filter(|region| !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))) {
        None => Ok(()),
        Some(region) => {
            Err(refused(format!("{region:?} is no region; AWS_REGION, or the profile's region, needs one")))
        }
    }
}

fn refused(reason: String) -> object_store::Error {
    object_store::Error::NotSupported { source: reason.into() }
}

/// Credentials come from the environment, from files that it names, or from services that are asked when they are needed and again before they
/// expire.
fn open(url: &Url, config: &StorageConfig) -> object_store::Result<Opened> {
    let options = client_options(url, config);
    Ok(match url.scheme() {
        "file" => Opened::whole(Arc::new(Disk::open(Path::from_url_path(url.path())?, true))),
        "memory" => {
            let mut stores = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
            Opened::with_parts(stores.entry(url.host_str().unwrap_or_default().to_owned()).or_default().clone())
        }
        "s3" | "s3a" => {
            let mut builder = AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(only_once());
            // To sign the content is to hash it once more here and there. TLS protects it on its way, as it does for AWS's
            // own clients, and whoever reads it holds it against the hashes of its manifest or index.
            if std::env::var_os("AWS_UNSIGNED_PAYLOAD").is_none() {
                builder = builder.with_unsigned_payload(true);
            }
            let builder = builder.with_client_options(options).with_http_connector(WithoutOddKeys);
            let builder = aws_profile::complete(builder)?;
            for (key, name) in S3_ENDPOINTS {
                check_endpoint(name, builder.get_config_value(&key))?;
            }
            check_region(builder.get_config_value(&S3Key::Region))?;
            Opened::with_parts(Arc::new(builder.build()?))
        }
        "gs" => {
            let builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).with_retry(only_once());
            let builder = builder.with_client_options(options).with_http_connector(WithoutOddKeys);
            check_endpoint("GOOGLE_BASE_URL", builder.get_config_value(&GoogleConfigKey::BaseUrl))?;
            Opened::with_parts(Arc::new(builder.build()?))
        }
        "az" | "azure" | "abfs" | "abfss" => {
            let builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_retry(only_once());
            let builder = builder.with_client_options(options).with_http_connector(WithoutOddKeys);
            for (key, name) in AZURE_ENDPOINTS {
                check_endpoint(name, builder.get_config_value(&key))?;
            }
            check_endpoint(AZURITE, std::env::var(AZURITE).ok())?;
            Opened::with_parts(Arc::new(builder.build()?))
        }
        "http" | "https" => {
            // Every request is made by the server's URL and a path; its query stays.
            let server = format!("{}?{}", &url[..Position::BeforePath], url.query().unwrap_or_default());
            let builder = HttpBuilder::new().with_url(server.trim_end_matches('?')).with_retry(only_once());
            Opened::whole(Arc::new(builder.with_client_options(options).build()?))
        }
        other => {
            return Err(refused(format!("unknown scheme {other}://")));
        }
    })
}
