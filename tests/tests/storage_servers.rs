//! The storage contract over other people's servers, where they are installed. A binary of its own: addresses and
//! credentials are in the environment of its process.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use common::config::StorageConfig;
use common::storage::{Folder, StorageError};
use tests::servers::ServerProcess;
use tests::storage_conformance::conforms;

/// One test, so that the environment is set before any thread reads it.
#[test]
fn they_conform() {
    let dir = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    let (moto, azurite) = (ServerProcess::moto(), ServerProcess::azurite(dir.path()));
    let web = ServerProcess::web(files.path());
    let mut environment = vec![("AWS_ACCESS_KEY_ID", "any".to_owned()), ("AWS_SECRET_ACCESS_KEY", "any".to_owned())];
    environment.extend(moto.as_ref().map(|server| ("AWS_ENDPOINT_URL", server.url())));
    environment.extend(azurite.as_ref().map(|server| ("AZURITE_BLOB_STORAGE_URL", server.url())));
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
    if let Some(web) = web {
        std::fs::create_dir_all(files.path().join("some where")).unwrap();
        std::fs::write(files.path().join("some where/a"), "content").unwrap();
        can_only_be_read(&open(&format!("{}/some where", web.url())));
    }
}

fn open(url: &str) -> Folder {
    let config = StorageConfig { deadline_s: 30, ..StorageConfig::default() };
    Folder::open(url, &config).unwrap()
}

/// Of several writers at once exactly one creates an object.
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

fn can_only_be_read(folder: &Folder) {
    assert_eq!(folder.get("a").unwrap(), "content");
    assert_eq!(folder.get_range("a", 1..3).unwrap(), "on");
    assert_eq!(folder.size("a").unwrap(), 7);
    assert!(matches!(folder.get("missing"), Err(StorageError::NotFound { .. })));
    let refused =
        [folder.put("b", "x".into()), folder.create("b", "x".into()), folder.delete("a"), folder.delete_all()];
    for result in refused {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("can only be read"), "{error}");
    }
    let error = folder.list().unwrap_err();
    assert!(matches!(error, StorageError::Refused { .. }) && error.to_string().contains("WebDAV"), "{error}");
}
