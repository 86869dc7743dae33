//! Tests of the storage contract over S3.

use std::path::Path;

use common::config::StorageConfig;
use common::storage::{Folder, StorageError};
use tests::storage_conformance::conforms;

use super::SERVER;

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
