//! Checkpoints of two small objects, in memory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path as FilePath, PathBuf};

use bytes::Bytes;

use super::*;
use crate::attempt::{AttemptError, record_start};
use crate::checkpoint_layout::retention::ORPHAN_GRACE_S;
use crate::checkpoint_layout::{ObjectEntry, OptimizerSlice, Retention, TensorEntry};
use crate::config::StorageConfig;
use crate::token_shard::BLOCK_BYTES;

const KEEP_TWO: Retention = Retention { keep_last: 2, keep_every_steps: 0 };

fn open(name: &str) -> Folder {
    Folder::open(&format!("memory://checkpoint-store-{name}/run"), &StorageConfig::default()).unwrap()
}

fn name(step: u64, attempt: u32) -> CheckpointName {
    CheckpointName { step, attempt, id: "x1".into() }
}

/// Commits a checkpoint, of whose two objects one has several blocks.
fn commit(run: &Folder, step: u64, attempt: u32) -> CheckpointName {
    let name = name(step, attempt);
    let folder = folder_of(run, &name);
    let large: Vec<u8> = (0..2 * BLOCK_BYTES + 5).map(|i| (i % 251) as u8).collect();
    let objects = [("model.safetensors", large), ("optimizer", vec![7; 100])];
    let objects = objects.map(|(name, content)| {
        let entry = ObjectEntry::describe(name, &content);
        folder.put(name, content.into()).unwrap();
        entry
    });
    let manifest = Manifest {
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
    };
    folder.create(MANIFEST_NAME, manifest.to_json()).unwrap();
    name
}

fn steps(run: &Folder) -> Vec<(u64, bool)> {
    list(run).unwrap().iter().map(|found| (found.name.step, found.counts())).collect()
}

#[test]
fn the_newest_is_the_highest_that_counts() {
    let run = open("newest");
    assert_eq!(newest(&run).unwrap(), None);
    let [ten, twenty] = [10, 20].map(|step| commit(&run, step, 1));
    folder_of(&run, &name(30, 1)).put("optimizer", Bytes::from_static(b"x")).unwrap();
    assert_eq!(newest(&run).unwrap(), Some(twenty.clone()));
    record_start(&run, 2, Some(&ten)).unwrap();
    assert_eq!(newest(&run).unwrap(), Some(ten));
    assert_eq!(steps(&run), [(10, true), (20, false), (30, false)]);
    let again = commit(&run, 20, 2);
    assert_eq!(newest(&run).unwrap(), Some(again));
}

#[test]
fn pruning_deletes_what_it_says_and_a_fenced_attempt_prunes_nothing() {
    let run = open("prune");
    for step in 1..=4 {
        commit(&run, 10 * step, 1);
    }
    for (step, attempt) in [(25, 1), (35, 2), (50, 1)] {
        folder_of(&run, &name(step, attempt)).put("optimizer", Bytes::from_static(b"x")).unwrap();
    }
    run.put("checkpoints/notes.txt", Bytes::from_static(b"x")).unwrap();
    run.put("attempts/0002.json", Bytes::from_static(b"{}")).unwrap();
    let now = crate::attempt::unix_s();
    assert!(matches!(prune(&run, &KEEP_TWO, Some(1), now), Err(AttemptError::Fenced { mine: 1, newer: 2, .. })));
    assert_eq!(list(&run).unwrap().len(), 7);

    let garbage = prune(&run, &KEEP_TWO, Some(2), now).unwrap();
    assert_eq!((garbage.expired, garbage.orphans), (vec![name(10, 1), name(20, 1)], vec![name(35, 2)]));
    assert_eq!(steps(&run), [(25, false), (30, true), (40, true), (50, false)]);
    let garbage = prune(&run, &KEEP_TWO, None, now + ORPHAN_GRACE_S).unwrap();
    assert_eq!((garbage.expired, garbage.orphans), (vec![], vec![name(25, 1)]));
    assert_eq!(steps(&run), [(30, true), (40, true), (50, false)]);
    assert!(run.get("checkpoints/notes.txt").is_ok());
}

/// Moves `what` out of the run folder `run`, which is on a disk, and leaves a link to it there. Where it is now.
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
    let names = [10, 20, 30, 40, 50].map(|step| commit(&run, step, 1));
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
    for step in [10, 20, 30] {
        commit(&run, step, 1);
    }
    move_and_link(&run, "checkpoints", outside.path());
    let text = prune(&run, &KEEP_TWO, None, 0).unwrap_err().to_string();
    assert!(text.contains(&format!("{}/checkpoints is a symbolic link", inside.path().display())), "{text}");
    assert_eq!(steps(&run), [(10, true), (20, true), (30, true)]);
}

#[test]
fn every_flipped_bit_and_every_wrong_size_is_found() {
    let run = open("verify");
    let name = commit(&run, 10, 1);
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
    // A wrong hash of the whole, where those of the blocks are right.
    let mut wrong = manifest;
    wrong.objects[1].sha256 = wrong.objects[0].sha256.clone();
    assert!(verify(&folder, &wrong).is_err());
}

#[test]
fn a_copy_is_the_same_and_appears_whole_or_not_at_all() {
    let (from, to) = (open("from"), open("to"));
    let name = commit(&from, 10, 1);
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
    record_start(&other, 2, None).unwrap();
    let refused = copy(&from, &other, &name).unwrap_err();
    assert!(matches!(refused, CheckpointStoreError::Void { .. }), "{refused}");
    assert_eq!(folder_of(&other, &name).list().unwrap(), []);
}
