//! Checkpoints of two small objects, in memory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::attempt::surroundings::Surroundings;
use crate::attempt::{Attempt, AttemptError, Claim, Claimant, acquire, check_fence, record_start};
use crate::checkpoint_layout::{
    CHECKPOINTS_FOLDER, CheckpointName, MANIFEST_NAME, Manifest, ObjectEntry, OptimizerSlice, TensorEntry,
};
use crate::checkpoint_store::ORPHAN_GRACE_S;
use crate::config::Retention;
use crate::config::StorageConfig;
use crate::exit_code::ExitCode;
use crate::storage::{Folder, ObjectInfo, StorageError};
use crate::token_shard::BLOCK_BYTES;

const KEEP_TWO: Retention = Retention { keep_last: 2, keep_every_steps: 0 };

fn open(name: &str) -> Folder {
    Folder::open(&format!("memory://checkpoint-store-{name}/run"), &StorageConfig::default()).unwrap()
}

/// Claims the next attempt of `run`. Its present holder, if any, goes on or is not waited for.
fn claim(run: &Folder, holds: Option<&Claim>) -> Claim {
    let claimant = Claimant { ranks: 1, expiry: Duration::from_millis(60), holds: holds.cloned() };
    acquire(run, &claimant, &mut |_| true).unwrap().as_ref().map(Attempt::claim).unwrap()
}

fn name(step: u64, claim: &Claim) -> CheckpointName {
    claim.name_checkpoint(step, "1")
}

/// Commits a checkpoint of two objects, one of which has several blocks.
fn save(run: &Folder, step: u64, claim: &Claim) -> CheckpointName {
    let name = name(step, claim);
    let manifest = write(run, &name);
    commit(run, claim, &manifest).unwrap();
    name
}

/// Writes all of a checkpoint except its manifest.
fn write(run: &Folder, name: &CheckpointName) -> Manifest {
    let (step, folder) = (name.step, folder_of(run, name));
    let large: Vec<u8> = (0..2 * BLOCK_BYTES + 5).map(|i| (i % 251) as u8).collect();
    let objects = [("model.safetensors", large), ("optimizer", vec![7; 100])];
    let objects = objects.map(|(name, content)| {
        let entry = ObjectEntry::describe(name, &content);
        folder.put(name, content.into()).unwrap();
        entry
    });
    Manifest {
        version: crate::checkpoint_layout::manifest::MANIFEST_VERSION,
        name: name.clone(),
        sequences_consumed: 8 * step,
        updates: step,
        grad_norms: Vec::new(),
        skipped_in_a_row: 0,
        changes: Vec::new(),
        world_size: 1,
        tokenizer_hash: "00".into(),
        data_sequences: 100,
        data_order: 2,
        config: String::new(),
        objects: objects.into(),
        tensors: vec![TensorEntry { name: "a".into(), shape: vec![2], object: "model.safetensors".into() }],
        optimizer: vec![OptimizerSlice {
            tensor: "a".into(),
            start: 0,
            end: 2,
            object: "optimizer".into(),
            exp_avg: "m".into(),
            exp_avg_sq: "v".into(),
        }],
    }
}

fn steps(run: &Folder) -> Vec<(u64, bool)> {
    list(run).unwrap().iter().map(|found| (found.name.step, found.counts())).collect()
}

#[test]
fn the_newest_is_the_highest_that_counts() {
    let run = open("newest");
    assert_eq!(newest(&run).unwrap(), None);
    let first = claim(&run, None);
    record_start(&run, &first, None).unwrap();
    let [ten, twenty] = [10, 20].map(|step| save(&run, step, &first));
    folder_of(&run, &name(30, &first)).put("optimizer", Bytes::from_static(b"x")).unwrap();
    assert_eq!(newest(&run).unwrap(), Some(twenty.clone()));
    let second = claim(&run, Some(&first));
    record_start(&run, &second, Some(&ten)).unwrap();
    assert_eq!(newest(&run).unwrap(), Some(ten));
    assert_eq!(steps(&run), [(10, true), (20, false), (30, false)]);
    let again = save(&run, 20, &second);
    assert_eq!(newest(&run).unwrap(), Some(again));
}

#[test]
fn pruning_deletes_what_it_says_and_a_fenced_attempt_prunes_nothing() {
    let run = open("prune");
    let first = claim(&run, None);
    record_start(&run, &first, None).unwrap();
    for step in 1..=4 {
        save(&run, 10 * step, &first);
    }
    let second = claim(&run, Some(&first));
    for (step, of) in [(25, &first), (35, &second), (50, &first)] {
        folder_of(&run, &name(step, of)).put("optimizer", Bytes::from_static(b"x")).unwrap();
    }
    run.put("checkpoints/notes.txt", Bytes::from_static(b"x")).unwrap();
    let now = crate::clock::unix_s();
    assert!(matches!(prune(&run, &KEEP_TWO, Some(&first), now), Err(AttemptError::Fenced { mine: 1, newer: 2, .. })));
    assert_eq!(list(&run).unwrap().len(), 7);
    // An attempt that has not recorded what it continues does not know what counts.
    assert!(matches!(prune(&run, &KEEP_TWO, Some(&second), now), Err(AttemptError::Vanished { mine: 2, .. })));
    assert_eq!(list(&run).unwrap().len(), 7);

    record_start(&run, &second, Some(&name(40, &first))).unwrap();
    let garbage = prune(&run, &KEEP_TWO, Some(&second), now).unwrap();
    let [ten, twenty] = [10, 20].map(|step| name(step, &first));
    assert_eq!((garbage.expired, garbage.orphans), (vec![ten, twenty], vec![name(35, &second)]));
    assert_eq!(steps(&run), [(25, false), (30, true), (40, true), (50, false)]);
    let garbage = prune(&run, &KEEP_TWO, None, now + ORPHAN_GRACE_S).unwrap();
    assert_eq!((garbage.expired, garbage.orphans), (vec![], vec![name(25, &first)]));
    assert_eq!(steps(&run), [(30, true), (40, true), (50, false)]);
    assert!(run.get("checkpoints/notes.txt").is_ok());
}

#[test]
fn somebody_who_holds_nothing_deletes_nothing_while_an_attempt_begins() {
    let run = open("beginning");
    let first = claim(&run, None);
    record_start(&run, &first, None).unwrap();
    let names = [10, 20, 30].map(|step| save(&run, step, &first));
    let second = claim(&run, Some(&first));
    let refused = prune(&run, &KEEP_TWO, None, 0);
    assert!(matches!(refused, Err(AttemptError::Beginning { attempt: 2, .. })), "{refused:?}");
    assert_eq!(list(&run).unwrap().len(), 3);
    record_start(&run, &second, Some(&names[2])).unwrap();
    assert_eq!(prune(&run, &KEEP_TWO, None, 0).unwrap().expired, names[..1]);
}

/// Moves `what` out of the run folder `run`, which is on a disk, and leaves a link to it there. Returns where it is now.
fn move_and_link(run: &Folder, what: &str, outside: &FilePath) -> PathBuf {
    let (inside, moved) = (run.local().unwrap().join(what), outside.join(what.replace('/', "-")));
    fs::rename(&inside, &moved).unwrap();
    symlink(&moved, &inside).unwrap();
    moved
}

#[test]
fn pruning_a_linked_checkpoint_removes_the_link_and_leaves_what_it_leads_to() {
    let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let run = Folder::open(inside.path().to_str().unwrap(), &StorageConfig::default()).unwrap();
    let first = claim(&run, None);
    record_start(&run, &first, None).unwrap();
    let names = [10, 20, 30, 40, 50].map(|step| save(&run, step, &first));
    let moved = [
        move_and_link(&run, &format!("checkpoints/{}", names[0]), outside.path()).join(MANIFEST_NAME),
        move_and_link(&run, &format!("checkpoints/{}/optimizer", names[1]), outside.path()),
        move_and_link(&run, &format!("checkpoints/{}/{MANIFEST_NAME}", names[2]), outside.path()),
    ];
    symlink(inside.path(), inside.path().join(format!("checkpoints/{}/circle", names[1]))).unwrap();
    let garbage = prune(&run, &KEEP_TWO, None, 0).unwrap();
    assert_eq!(garbage.expired, names[..3]);
    assert!(moved.iter().all(|moved| moved.metadata().is_ok_and(|metadata| metadata.len() > 0)), "{moved:?}");
    let left: Vec<_> = fs::read_dir(inside.path().join("checkpoints")).unwrap().collect();
    assert_eq!((left.len(), steps(&run)), (2, vec![(40, true), (50, true)]));
}

#[test]
fn where_the_folder_of_checkpoints_is_a_link_pruning_deletes_nothing_and_names_it() {
    let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let run = Folder::open(inside.path().to_str().unwrap(), &StorageConfig::default()).unwrap();
    let first = claim(&run, None);
    record_start(&run, &first, None).unwrap();
    for step in [10, 20, 30] {
        save(&run, step, &first);
    }
    move_and_link(&run, "checkpoints", outside.path());
    let text = prune(&run, &KEEP_TWO, None, 0).unwrap_err().to_string();
    assert!(text.contains(&format!("{}/checkpoints is a symbolic link", inside.path().display())), "{text}");
    assert_eq!(steps(&run), [(10, true), (20, true), (30, true)]);
}

#[test]
fn an_attempt_whose_run_folder_was_deleted_and_begun_anew_commits_and_deletes_nothing() {
    let run = open("begun-anew");
    let first = claim(&run, None);
    record_start(&run, &first, None).unwrap();
    for step in [10, 20, 30] {
        save(&run, step, &first);
    }
    let late = write(&run, &name(40, &first));
    run.folder("attempts").delete_all().unwrap();
    let now = crate::clock::unix_s();
    let refused = |result: Result<(), AttemptError>| {
        let error = result.unwrap_err();
        assert!(
            matches!(error, AttemptError::Vanished { mine: 1, .. }) && error.exit_code() == ExitCode::Config,
            "{error}"
        );
        assert!(error.to_string().contains("the run folder was deleted, or begun anew"), "{error}");
    };
    refused(commit(&run, &first, &late));
    refused(prune(&run, &KEEP_TWO, Some(&first), now).map(drop));
    let anew = claim(&run, None);
    assert_eq!((anew.number, first.number), (1, 1));
    refused(commit(&run, &first, &late));
    refused(prune(&run, &KEEP_TWO, Some(&first), now).map(drop));
    refused(record_start(&run, &first, None));
    assert_eq!(steps(&run), [(10, true), (20, true), (30, true), (40, false)]);
    check_fence(&run, &anew).unwrap();
}

#[test]
fn what_an_attempt_puts_between_looking_and_the_run_folders_new_beginning_does_not_count_there() {
    let run = open("smuggled");
    let [old, other] = ["a", "b"].map(|id| Claim { number: 1, id: id.repeat(16) });
    let anew = claim(&run, None);
    record_start(&run, &anew, None).unwrap();
    let ten = save(&run, 10, &anew);
    // All that it had checked before: a checkpoint of this number, one of a number still to come, and what it continued.
    for late in [name(40, &old), name(50, &Claim { number: 7, ..old.clone() }), name(60, &other)] {
        let manifest = write(&run, &late);
        folder_of(&run, &late).create(MANIFEST_NAME, manifest.to_json()).unwrap();
    }
    let record = r#"{"attempt":1,"id":"aaaaaaaaaaaaaaaa","from":["step-00000050-a0007-aaaaaaaax1"]}"#;
    run.put("attempts/0001.aaaaaaaa.from", Bytes::from_static(record.as_bytes())).unwrap();
    run.put("attempts/0002.aaaaaaaa.from", Bytes::from_static(record.as_bytes())).unwrap();
    assert_eq!(newest(&run).unwrap(), Some(ten));
    assert_eq!(list(&run).unwrap().iter().filter(|found| found.counts()).count(), 1);
}

#[test]
fn a_copied_checkpoint_counts_and_so_does_what_continues_it() {
    let (from, to) = (open("copied-from"), open("copied-to"));
    let first = claim(&from, None);
    record_start(&from, &first, None).unwrap();
    let [ten, twenty, thirty] = [10, 20, 30].map(|step| save(&from, step, &first));
    for name in [&ten, &twenty] {
        copy(&from, &to, name).unwrap();
    }
    // An attempt with this number, in another run.
    let anew = claim(&to, None);
    record_start(&to, &anew, newest(&to).unwrap().as_ref()).unwrap();
    let thirty_anew = save(&to, 30, &anew);
    let again = claim(&to, Some(&anew));
    record_start(&to, &again, Some(&thirty_anew)).unwrap();
    let counting: Vec<_> = list(&to).unwrap().into_iter().filter(Found::counts).map(|found| found.name).collect();
    assert_eq!(counting, [ten, twenty, thirty_anew]);
    let refused = copy(&from, &to, &thirty).unwrap_err();
    assert!(matches!(refused, CheckpointStoreError::Void { .. }), "{refused}");
}

#[test]
fn a_run_of_an_older_version_goes_on() {
    let run = open("older");
    let untagged = |step, attempt| CheckpointName { step, attempt, id: "5c0e9d7b21f3a864".into() };
    for name in [untagged(10, 1), untagged(20, 1), untagged(20, 2)] {
        let manifest = write(&run, &name);
        folder_of(&run, &name).create(MANIFEST_NAME, manifest.to_json()).unwrap();
    }
    for number in [1, 2] {
        let claim = format!(
            r#"{{"attempt":{number},"id":"000000000000000{number}","claimed_at_unix_s":1,"host":"h","pid":1,"ranks":1,"version":"0"}}"#
        );
        run.put(&format!("attempts/000{number}.json"), claim.into()).unwrap();
    }
    let ended = br#"{"id":"0000000000000002","count":1,"refreshed_at_unix_s":1,"has_ended":true}"#;
    run.put("attempts/0002.alive", Bytes::from_static(ended)).unwrap();
    run.put("attempts/0001.from.nothing", Bytes::from_static(b"nothing\n")).unwrap();
    run.put(&format!("attempts/0002.from.{}", untagged(10, 1)), Bytes::from_static(b"x")).unwrap();
    let counting = || list(&run).unwrap().into_iter().filter(Found::counts).map(|found| found.name).collect::<Vec<_>>();
    assert_eq!(counting(), [untagged(10, 1), untagged(20, 2)]);
    let third = claim(&run, None);
    assert_eq!(third.number, 3);
    record_start(&run, &third, newest(&run).unwrap().as_ref()).unwrap();
    let thirty = save(&run, 30, &third);
    assert_eq!(counting(), [untagged(10, 1), untagged(20, 2), thirty]);
}

#[test]
fn a_listing_that_is_behind_deletes_nothing_that_counts() {
    use futures::FutureExt;
    let run = open("behind");
    let first = claim(&run, None);
    record_start(&run, &first, None).unwrap();
    let names = [10, 20, 30, 40].map(|step| save(&run, step, &first));
    let now = crate::clock::unix_s() + ORPHAN_GRACE_S;
    let keep_one = Retention { keep_last: 1, keep_every_steps: 0 };
    // The listing still shows 50, which is gone, and not yet the manifest of 30.
    let gone = name(50, &first);
    let behind = Behind {
        run: &run,
        shows: vec![format!("{gone}/{MANIFEST_NAME}")],
        hides: vec![format!("{}/{MANIFEST_NAME}", names[2])],
    };
    let garbage = prune::prune_in(&behind, &keep_one, Some(&first), now).now_or_never().unwrap().unwrap();
    assert_eq!(newest(&run).unwrap(), Some(names[3].clone()), "{garbage:?}");
    // A listing that lacks the newest lets nobody continue from an older one, either.
    let behind = Behind { run: &run, shows: vec![], hides: vec![format!("{}/{MANIFEST_NAME}", names[3])] };
    let found = list_in(&behind).now_or_never().unwrap().unwrap();
    assert_eq!(found.into_iter().rfind(Found::counts).unwrap().name, names[3]);
}

#[test]
fn every_flipped_bit_and_every_wrong_size_is_found() {
    let run = open("verify");
    let name = save(&run, 10, &claim(&run, None));
    let (folder, manifest) = (folder_of(&run, &name), read_manifest(&run, &name).unwrap());
    verify(&folder, &manifest).unwrap();
    for object in &manifest.objects {
        let good = folder.get(&object.name).unwrap();
        let mut damages: Vec<(Vec<u8>, String)> = (0..20)
            .map(|i| {
                let (at, mut content) = (i * (good.len() - 1) / 19, good.to_vec());
                content[at] ^= 1 << (i % 8);
                let block = at as u64 / BLOCK_BYTES * BLOCK_BYTES;
                let end = good.len().min((block + BLOCK_BYTES) as usize);
                (content, format!("bytes {block}..{end} have SHA-256"))
            })
            .collect();
        damages.push((good[..good.len() - 1].to_vec(), format!("bytes, expected {}", good.len())));
        damages.push(([&good[..], b"x"].concat(), format!("bytes, expected {}", good.len())));
        for (content, expected) in damages {
            folder.put(&object.name, content.into()).unwrap();
            let text = verify(&folder, &manifest).unwrap_err().to_string();
            assert!(text.contains(&folder.url_of(&object.name)) && text.contains(&expected), "{expected:?} in {text}");
        }
        folder.delete(&object.name).unwrap();
        let text = verify(&folder, &manifest).unwrap_err().to_string();
        assert!(text.contains("does not exist"), "{text}");
        folder.put(&object.name, good).unwrap();
    }
    // The hash of the whole is wrong, and those of the blocks are right.
    let mut wrong = manifest;
    wrong.objects[1].sha256 = wrong.objects[0].sha256;
    assert!(verify(&folder, &wrong).is_err());
}

#[test]
fn a_copy_is_the_same_and_appears_whole_or_not_at_all() {
    let (from, to) = (open("from"), open("to"));
    let name = save(&from, 10, &claim(&from, None));
    let (source, target) = (folder_of(&from, &name), folder_of(&to, &name));
    let good = source.get("optimizer").unwrap();
    let mut bad = good.to_vec();
    bad[50] ^= 1;
    source.put("optimizer", bad.into()).unwrap();
    assert!(matches!(copy(&from, &to, &name), Err(CheckpointStoreError::Damaged { .. })));
    assert_eq!(newest(&to).unwrap(), None);

    source.put("optimizer", good).unwrap();
    assert!(copy(&from, &to, &name).unwrap());
    verify(&target, &read_manifest(&to, &name).unwrap()).unwrap();
    let contents = |folder: &Folder| {
        let names = folder.list().unwrap().into_iter().map(|object| object.name);
        names.map(|name| (folder.get(&name).unwrap(), name)).collect::<Vec<_>>()
    };
    assert!(contents(&source) == contents(&target));
    assert!(!copy(&from, &to, &name).unwrap(), "it is there already");

    let other = open("other");
    record_start(&other, &claim(&other, None), None).unwrap();
    let refused = copy(&from, &other, &name).unwrap_err();
    assert!(matches!(refused, CheckpointStoreError::Void { .. }), "{refused}");
    assert_eq!(folder_of(&other, &name).list().unwrap(), []);
}

/// A folder with stale listings.
struct Behind<'a> {
    run: &'a Folder,
    shows: Vec<String>,
    hides: Vec<String>,
}

impl Surroundings for Behind<'_> {
    fn url(&self) -> &str {
        self.run.url()
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectInfo>, StorageError> {
        let mut listed = Surroundings::list(self.run, folder).await?;
        if folder == CHECKPOINTS_FOLDER {
            listed.retain(|object| !self.hides.contains(&object.name));
            let shown = |name: &String| ObjectInfo { name: name.clone(), ..listed[0].clone() };
            let shown: Vec<_> = self.shows.iter().map(shown).collect();
            listed.extend(shown);
        }
        Ok(listed)
    }

    async fn read(&self, name: &str) -> Result<Option<Bytes>, StorageError> {
        self.run.read(name).await
    }

    async fn exists(&self, name: &str) -> Result<bool, StorageError> {
        Surroundings::exists(self.run, name).await
    }

    async fn create(&self, name: &str, content: Bytes) -> Result<(), StorageError> {
        Surroundings::create(self.run, name, content).await
    }

    async fn put(&self, name: &str, content: Bytes) -> Result<(), StorageError> {
        Surroundings::put(self.run, name, content).await
    }

    async fn delete(&self, name: &str) -> Result<(), StorageError> {
        Surroundings::delete(self.run, name).await
    }

    async fn delete_all(&self, folder: &str) -> Result<(), StorageError> {
        Surroundings::delete_all(self.run, folder).await
    }

    fn now(&self) -> Duration {
        self.run.now()
    }

    fn unix_s(&self) -> u64 {
        self.run.unix_s()
    }

    async fn sleep(&self, duration: Duration) {
        self.run.sleep(duration).await;
    }

    fn random_hex(&self) -> String {
        self.run.random_hex()
    }

    fn process(&self) -> Option<crate::attempt::process::ProcessId> {
        self.run.process()
    }

    fn is_gone(&self, process: &crate::attempt::process::ProcessId) -> bool {
        self.run.is_gone(process)
    }
}
