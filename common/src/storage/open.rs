//! Opens the client of a URL's store.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as S3Key};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use url::{Position, Url};

use super::aws_profile;
use super::disk::Disk;
use super::odd_keys::WithoutOddKeys;
use crate::config::StorageConfig;
use crate::secrets::unparsed;

/// Stores behind `memory://` URLs: one per host name, shared by the process.
static MEMORY: LazyLock<Mutex<HashMap<String, Arc<InMemory>>>> = LazyLock::new(Mutex::default);

/// Clients that requests are made with.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) objects: Arc<dyn ObjectStore>,
    /// The store, if it can take an object part by part.
    pub(super) parts: Option<Arc<dyn MultipartStore>>,
}

impl Opened {
    pub(super) fn whole(objects: Arc<dyn ObjectStore>) -> Self {
        Opened { objects, parts: None }
    }

    fn with_parts<S: ObjectStore + MultipartStore>(store: Arc<S>) -> Self {
        Opened { objects: store.clone(), parts: Some(store) }
    }
}

/// Returns settings by which the client never retries and never gives up by itself. `retry.rs` does both, knows the deadline
/// of the whole operation, and renews credentials in between. (The client's own time limit would end every long body.)
fn only_once() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, retry_timeout: Duration::ZERO }
}

/// Variables that name a server of the user's own. Connections go without encryption only if one of them asks for that.
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

/// Settings of the client that are addresses, and how a message names their source.
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

/// Refuses an endpoint such as `localhost:9000`, with which the client could make no request and would panic.
fn check_endpoint(name: &str, given: Option<String>) -> object_store::Result<()> {
    let Some(given) = given else { return Ok(()) };
    let is_whole = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
    if Url::parse(&given).is_ok_and(|url| is_whole(&url)) {
        return Ok(());
    }
    let given = unparsed(&given);
    Err(refused(format!("{given:?} is no endpoint; {name} needs http:// or https://, and a host")))
}

/// Refuses a region that cannot be part of a host name, since it becomes one.
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

/// Opens the client of `url`. Credentials come from the environment, from files that it names, or from services, which are
/// asked when credentials are needed and again before they expire.
pub(super) fn open(url: &Url, config: &StorageConfig) -> object_store::Result<Opened> {
    let options = client_options(url, config);
    Ok(match url.scheme() {
        "file" => Opened::whole(Arc::new(Disk::open(Path::from_url_path(url.path())?, true))),
        "memory" => {
            let mut stores = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
            Opened::with_parts(stores.entry(url.host_str().unwrap_or_default().to_owned()).or_default().clone())
        }
        "s3" | "s3a" => {
            let mut builder = AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(only_once());
            // Signing the content would hash it once more on both sides. TLS protects it on its way, as it does for AWS's
            // own clients, and readers check it against the hashes of its manifest or index.
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
            // Every request uses the server's URL and a path; its query stays.
            let server = format!("{}?{}", &url[..Position::BeforePath], url.query().unwrap_or_default());
            let builder = HttpBuilder::new().with_url(server.trim_end_matches('?')).with_retry(only_once());
            Opened::whole(Arc::new(builder.with_client_options(options).build()?))
        }
        other => {
            return Err(refused(format!("unknown scheme {other}://")));
        }
    })
}
