//! Tests of preparing data from S3 to S3, killed and restarted, with the bytes of a job on a disk.

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use common::config::StorageConfig;
use common::exit_code::ExitCode;
use common::storage::Folder;
use nix::sys::signal::Signal;
use tests::documents;
use tests::process::{Running, launcher, send};
use tests::random::Random;
use tests::training::{DEADLINE, ended, run, turn};

use super::SERVER;

fn prepare(dir: &Path, place: &str) -> Command {
    let places: [&str; 2] = [&format!("{place}/in"), &format!("{place}/out")];
    documents::prepare(Command::new(launcher()), dir, places, &["launch.ranks=2".to_owned()])
}

#[test]
fn from_s3_to_s3_is_as_on_a_disk() {
    LazyLock::force(&SERVER);
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let (local, s3) = (dir.path().display().to_string(), "s3://bucket/some where else".to_owned());
    let folders = [&local, &s3].map(|url| Folder::open(url, &StorageConfig::default()).unwrap());
    folders.iter().for_each(|folder| documents::put(&folder.folder("in")));
    let outputs = folders.map(|folder| folder.folder("out"));
    run(prepare(dir.path(), &local), ExitCode::Done, &[]);

    let mut running = Running::start(prepare(dir.path(), &s3));
    running.wait_until("a run was there", DEADLINE, |_| documents::is_in_work(&outputs[1]).then_some(()));
    send(*Random::fresh().choose(&running.processes("prepare")), Signal::SIGKILL);
    ended(running, ExitCode::Done, &["rank lost", "restarting in", "tokens in "]);
    let [on_disk, on_s3] = [&outputs[0], &outputs[1]].map(documents::prepared);
    assert!(on_disk == on_s3, "{} and {} objects", on_disk.len(), on_s3.len());
}
