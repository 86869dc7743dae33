//! The storage contract over S3. A binary of its own: the credentials are in the environment of its process.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]
#![allow(unsafe_code, reason = "sets the environment, before other threads read it")]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use common::config::StorageConfig;
use common::storage::{Folder, StorageError};
use tests::odd_store::addresses;
use tests::s3::Server;
use tests::scratch::folder_of_binary;
use tests::storage_conformance::conforms;

/// The server of this process, and the folder behind it.
static SERVER: LazyLock<(Server, PathBuf)> = LazyLock::new(|| {
    let dir = folder_of_binary(env!("CARGO_TARGET_TMPDIR"), "storage_s3");
    // By IPv6 where this machine has it, for its addresses are the odd ones; all other tests go by IPv4.
    let (_, address) = *addresses().last().unwrap();
    let server = Server::start_at((address, 0).into(), &dir, &["bucket"]).unwrap();
    for (name, value) in server.environment() {
        // SAFETY: every test of this binary waits here before it does anything else, so that no other thread reads
        // the environment meanwhile; it is never written again.
        unsafe { std::env::set_var(name, value) };
    }
    (server, dir)
});

fn open(url: &str) -> (Folder, &'static Path) {
    let (_, dir) = &*SERVER;
    (Folder::open(url, &StorageConfig::default()).unwrap(), dir)
}

#[test]
fn s3_conforms() {
    let (folder, _) = open("s3://bucket/with space/run");
    conforms(&folder);
}

#[test]
fn objects_lie_in_their_bucket_under_their_names() {
    let (folder, root) = open("s3://bucket/lies");
    folder.put("sub/a", "content".into()).unwrap();
    assert_eq!(std::fs::read(root.join("bucket/lies/sub/a")).unwrap(), b"content");
}

#[test]
fn a_bucket_that_does_not_exist_is_missing() {
    let (folder, _) = open("s3://no-such-bucket/x");
    for error in [folder.get("a").unwrap_err(), folder.list().unwrap_err(), folder.list_folders().unwrap_err()] {
        assert!(matches!(error, StorageError::NotFound { .. }), "{error}");
    }
}
