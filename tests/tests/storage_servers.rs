//! Tests of the storage contract over other servers, where they are installed, as far as they implement it. They have a
//! binary of their own: addresses and credentials are in the environment of its process.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]
#![allow(unsafe_code, reason = "sets the environment, before other threads read it")]

use common::config::StorageConfig;
use common::storage::{Folder, StorageError};
use tests::servers::ServerProcess;
use tests::storage_conformance::conforms;

/// Account that needs no token.
const NO_ACCOUNT: &str = r#"{"private_key":"","private_key_id":"","client_email":"","disable_oauth":true}"#;

/// All checks are one test, so that the environment is set before any thread reads it.
#[test]
fn they_conform() {
    let dir = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    let (moto, azurite) = (ServerProcess::moto(), ServerProcess::azurite(dir.path()));
    // Both servers share one folder: a bucket, and the files of a web server.
    std::fs::create_dir_all(files.path().join("bucket/some where/below")).unwrap();
    std::fs::write(files.path().join("bucket/some where/a"), "content").unwrap();
    std::fs::write(files.path().join("bucket/some where/below/b"), "more").unwrap();
    let google = ServerProcess::google(files.path());
    let web = ServerProcess::web(files.path());
    let mut environment = vec![("AWS_ACCESS_KEY_ID", "any".to_owned()), ("AWS_SECRET_ACCESS_KEY", "any".to_owned())];
    environment.extend(moto.as_ref().map(|server| ("AWS_ENDPOINT_URL", server.url())));
    environment.extend(azurite.as_ref().map(|server| ("AZURITE_BLOB_STORAGE_URL", server.url())));
    environment.extend(google.as_ref().map(|server| ("GOOGLE_BASE_URL", server.url())));
    environment.push(("GOOGLE_SERVICE_ACCOUNT_KEY", NO_ACCOUNT.to_owned()));
    environment.push(("AZURE_STORAGE_USE_EMULATOR", "true".to_owned()));
    for (name, value) in environment {
        // SAFETY: this binary's only test sets the environment before it starts the threads of storage.
        unsafe { std::env::set_var(name, value) };
    }
    if moto.is_some() {
        let folder = open("s3://bucket/with space/run");
        conforms(&folder);
        one_of_many_creates(&folder);
    }
    if azurite.is_some() {
        let folder = open("az://container/with space/run");
        conforms(&folder);
        one_of_many_creates(&folder);
    }
    if google.is_some() {
        can_be_read_and_emptied(&open("gs://bucket/some where"));
    }
    if let Some(web) = web {
        can_only_be_read(&open(&format!("{}/bucket/some where", web.url())));
    }
}

fn open(url: &str) -> Folder {
    let config = StorageConfig { deadline_s: 30, ..StorageConfig::default() };
    Folder::open(url, &config).unwrap()
}

/// Checks that exactly one of several concurrent writers creates an object.
fn one_of_many_creates(folder: &Folder) {
    let created: Vec<_> = std::thread::scope(|scope| {
        let create = |writer: usize| move || folder.create("once", format!("by {writer}").into());
        let writers: Vec<_> = (0..8).map(|writer| scope.spawn(create(writer))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert_eq!(created.iter().filter(|result| result.is_ok()).count(), 1, "{created:?}");
    let others = created.iter().filter(|result| matches!(result, Err(StorageError::AlreadyExists { .. }))).count();
    assert_eq!(others, 7, "{created:?}");
    folder.delete_all().unwrap();
}

fn can_be_read(folder: &Folder) {
    assert_eq!(folder.get("a").unwrap(), "content");
    assert_eq!(folder.get_range("a", 1..3).unwrap(), "on");
    assert_eq!(folder.size("a").unwrap(), 7);
    assert!(matches!(folder.get("missing"), Err(StorageError::NotFound { .. })));
}

fn can_be_read_and_emptied(folder: &Folder) {
    can_be_read(folder);
    let names = || folder.list().unwrap().into_iter().map(|object| object.name).collect::<Vec<_>>();
    assert_eq!(names(), ["a", "below/b"]);
    assert_eq!(folder.folder("below").get("b").unwrap(), "more");
    folder.delete("a").unwrap();
    assert_eq!(names(), ["below/b"]);
    folder.delete_all().unwrap();
    assert_eq!(names(), [""; 0]);
}

fn can_only_be_read(folder: &Folder) {
    can_be_read(folder);
    let refused =
        [folder.put("b", "x".into()), folder.create("b", "x".into()), folder.delete("a"), folder.delete_all()];
    for result in refused {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("can only be read"), "{error}");
    }
    let error = folder.list().unwrap_err();
    assert!(matches!(error, StorageError::Unlisted { .. }) && error.to_string().contains("WebDAV"), "{error}");
}
