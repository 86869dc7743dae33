//! Tests of wrong and missing credentials. They have a binary of their own: credentials are in the environment of its
//! process.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]
#![allow(unsafe_code, reason = "sets the environment, before other threads read it")]

use common::config::StorageConfig;
use common::exit_code::ExitCode;
use common::storage::{Folder, StorageError};
use tests::s3::Server;

#[test]
fn without_valid_credentials_access_is_denied() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["bucket"]);
    let mut environment = server.environment();
    // Where keys are missing, the last resort is the cloud's metadata service; this one answers nothing.
    environment.push(("AWS_METADATA_ENDPOINT".into(), "http://127.0.0.1:9".into()));
    environment.retain(|(name, _)| name != "AWS_SECRET_ACCESS_KEY");

    // SAFETY: this is the binary's only test, and storage reads the environment only while it opens or renews, which no
    // thread does here; the server's thread never reads it.
    let set = |name: &str, value: &str| unsafe { std::env::set_var(name, value) };
    environment.iter().for_each(|(name, value)| set(name, value));
    set("AWS_SECRET_ACCESS_KEY", "wrong");
    is_denied(&open());
    // SAFETY: as above.
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].iter().for_each(|name| unsafe { std::env::remove_var(name) });
    is_denied(&open());
}

fn is_denied(folder: &Folder) {
    let errors = [
        folder.get("a").unwrap_err(),
        folder.create("a", "content".into()).unwrap_err(),
        folder.list().unwrap_err(),
        folder.list_folders().unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, StorageError::Denied { .. }), "{error}");
        assert_eq!(error.exit_code(), ExitCode::Data);
    }
}

fn open() -> Folder {
    Folder::open("s3://bucket/x", &StorageConfig::default()).unwrap()
}
