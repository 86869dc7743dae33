//! Test of keys of a profile in a file, which somebody replaces while the process runs. It has a binary of its own: the
//! file's name is in the environment of its process.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]
#![allow(unsafe_code, reason = "sets the environment, before other threads read it")]

use common::config::StorageConfig;
use common::storage::Folder;
use tests::s3::{ACCESS_KEY, OTHER_ACCESS_KEY, SECRET_KEY, Server};
use tests::storage_conformance::conforms;

#[test]
fn a_profile_gives_keys_and_endpoint_and_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["bucket"]);
    let (config, credentials) = (dir.path().join("config"), dir.path().join("credentials"));
    let text = format!("[profile lab]\nregion = us-east-1\nendpoint_url = {}\n", server.endpoint());
    std::fs::write(&config, text).unwrap();
    let give = |key: &str| {
        let text = format!("[lab]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET_KEY}\n");
        std::fs::write(&credentials, text).unwrap();
    };
    give(ACCESS_KEY);
    let inherited: Vec<_> = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("AWS_")).collect();
    // SAFETY: this binary's only test sets the environment before it starts the threads of storage, and the server's
    // thread never reads it.
    unsafe {
        inherited.iter().for_each(|name| std::env::remove_var(name));
        std::env::set_var("AWS_CONFIG_FILE", &config);
        std::env::set_var("AWS_SHARED_CREDENTIALS_FILE", &credentials);
        std::env::set_var("AWS_PROFILE", "lab");
    }
    let folder = Folder::open("s3://bucket/profile", &StorageConfig::default()).unwrap();
    conforms(&folder);

    folder.put("a", "content".into()).unwrap();
    server.faults().expire(ACCESS_KEY);
    give(OTHER_ACCESS_KEY);
    assert_eq!(folder.get("a").unwrap(), "content");
    assert_eq!(server.faults().refused(), 1);
}
