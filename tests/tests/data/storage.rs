//! Tests of the storage contract over memory and local files.

use common::config::StorageConfig;
use common::storage::Folder;
use tests::storage_conformance::conforms;

#[test]
fn memory_conforms() {
    conforms(&Folder::open("memory://conforms/x", &StorageConfig::default()).unwrap());
}

#[test]
fn files_conform() {
    let dir = tempfile::tempdir().unwrap();
    let url = dir.path().join("with space").display().to_string();
    conforms(&Folder::open(&url, &StorageConfig::default()).unwrap());
}
