//! A valid manifest, and what happens when something in it is wrong.

use super::super::name::CheckpointName;
use super::seal::{SEAL, seal};
use super::*;
use crate::config::{ConfigChange, RUN_SEQUENCES};
use crate::token_shard::BLOCK_BYTES;

fn good() -> Manifest {
    let content = vec![7; BLOCK_BYTES as usize + 1];
    let slice = |tensor: &str, start, end| OptimizerSlice {
        tensor: tensor.into(),
        start,
        end,
        object: "optimizer".into(),
        exp_avg: format!("{tensor}.{start}-{end}.exp_avg"),
        exp_avg_sq: format!("{tensor}.{start}-{end}.exp_avg_sq"),
    };
    let tensor = |name: &str, shape: &[u64]| TensorEntry {
        name: name.into(),
        shape: shape.to_vec(),
        object: "model.safetensors".into(),
    };
    Manifest {
        version: 1,
        name: CheckpointName { step: 3, attempt: 1, id: "ab12".into() },
        sequences_consumed: 24,
        updates: 3,
        grad_norms: Vec::new(),
        skipped_in_a_row: 0,
        changes: Vec::new(),
        world_size: 2,
        tokenizer_hash: "00".into(),
        data_sequences: 100,
        data_order: 2,
        config: "[run]\nname = \"a \\\"quoted\\\" name\"\n".into(),
        objects: vec![
            ObjectEntry::describe("model.safetensors", &content),
            ObjectEntry::describe("optimizer", &content),
        ],
        tensors: vec![tensor("a", &[2, 3]), tensor("b", &[4]), tensor("none", &[0, 8]), tensor("scalar", &[])],
        optimizer: vec![slice("a", 4, 6), slice("b", 0, 4), slice("a", 0, 4), slice("scalar", 0, 1)],
    }
}

fn reason(change: impl FnOnce(&mut Manifest)) -> String {
    let mut manifest = good();
    change(&mut manifest);
    Manifest::parse("x/manifest.json", &manifest.to_json()).unwrap_err().to_string()
}

#[test]
fn a_manifest_that_names_no_order_of_the_data_is_of_the_first() {
    let mut fields = serde_json::to_value(good()).unwrap();
    assert_eq!(fields.as_object_mut().unwrap().remove("data_order"), Some(2.into()));
    assert_eq!(serde_json::from_value::<Manifest>(fields).unwrap(), Manifest { data_order: 1, ..good() });
}

#[test]
fn a_manifest_reads_back_and_is_plain_json() {
    let manifest = good();
    assert_eq!(Manifest::parse("x", &manifest.to_json()).unwrap(), manifest);
    let json: serde_json::Value = serde_json::from_slice(&manifest.to_json()).unwrap();
    assert_eq!(json["manifest_sha256"].as_str().unwrap().len(), 64);
    // A seal within a string is no seal.
    let mut strange = good();
    strange.config = manifest.to_json().iter().map(|b| char::from(*b)).collect();
    assert_eq!(Manifest::parse("x", &strange.to_json()).unwrap(), strange);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["../x", "a/b", "", ".", "..", ".hidden", "a\\b", "a\0b", "manifest.json", "ä"] {
        let text = reason(|m| m.objects[0].name = name.into());
        assert!(text.contains("is no name of a file"), "{text}");
    }
    assert!(reason(|m| m.name.id = "../x".into()).contains("is no name of a checkpoint"));
}

#[test]
fn what_is_no_hash_is_refused() {
    let manifest = good();
    let (json, hash) =
        (String::from_utf8(manifest.to_json().to_vec()).unwrap(), manifest.objects[1].sha256.to_string());
    for wrong in ["x".to_owned(), hash.to_uppercase(), format!("{hash}00"), "../".repeat(21) + "x"] {
        let (head, _) = json.rsplit_once(SEAL).unwrap();
        let error = Manifest::parse("x", &seal(&head.replace(&hash, &wrong))).unwrap_err().to_string();
        assert!(error.contains("is no SHA-256"), "{error}");
    }
}

#[test]
fn contradictions_are_named() {
    const HUGE: u64 = u64::MAX / 2;
    type Change = fn(&mut Manifest);
    let cases: [(&str, Change); 20] = [
        ("version 2, expected 1", |m| m.version = 2),
        ("step is 18446744073709551615, expected at most", |m| m.name.step = u64::MAX),
        ("sequences_consumed is 9223372036854775808, expected", |m| m.sequences_consumed = 1 << 63),
        ("skipped_in_a_row is 9223372036854775807, expected", |m| m.skipped_in_a_row = HUGE),
        ("a world of 0 ranks", |m| m.world_size = 0),
        ("optimizer is listed twice", |m| m.objects[0].name = "optimizer".into()),
        ("2 block hashes do not fit", |m| m.objects[0].bytes = 5),
        ("2 block hashes do not fit", |m| m.objects[0].bytes = HUGE),
        ("tensor b is listed twice", |m| m.tensors[0].name = "b".into()),
        ("\"y\", which is not listed", |m| m.tensors[1].object = "y".into()),
        ("tensor b: shape [9223", |m| m.tensors[1].shape = vec![HUGE, 3]),
        ("do not fit into model.safetensors", |m| m.tensors[1].shape = vec![1 << 20]),
        ("a: slice 4..7 after elements 0..4 of 6", |m| m.optimizer[0].end = 7),
        ("a: slice 3..6 after elements 0..4", |m| m.optimizer[0].start = 3),
        ("a: slice 5..6 after elements 0..4", |m| m.optimizer[0].start = 5),
        ("a: slice 4..4 after elements 0..4", |m| m.optimizer[0].end = 4),
        ("cover 4 of 6 elements", |m| drop(m.optimizer.remove(0))),
        ("slices cover 0 of 4", |m| drop(m.optimizer.remove(1))),
        ("a slice of no tensor: c", |m| m.optimizer[1].tensor = "c".into()),
        ("\"y\", which is not listed", |m| m.optimizer[1].object = "y".into()),
    ];
    for (expected, change) in cases {
        let text = reason(change);
        assert!(text.contains(expected), "expected {expected:?} in {text}");
    }
}

#[test]
fn a_cursor_that_no_run_has_is_refused() {
    let change_after = |sequences_consumed: u64| {
        let (from, to) = ("8".into(), "4".into());
        ConfigChange { key: "batch.global_sequences".into(), from, to, step: 3, sequences_consumed, attempt: 1 }
    };
    reason(|m| m.sequences_consumed = 1 << 63);
    assert!(reason(|m| m.sequences_consumed = RUN_SEQUENCES + 1).contains("no run consumes more than"));
    let text = reason(|m| m.changes.push(change_after(25)));
    assert!(text.contains("batch.global_sequences changed after 25 sequences, and only 24 are consumed"), "{text}");
}

#[test]
fn no_truncation_and_no_flipped_bit_is_accepted() {
    let json = good().to_json();
    for end in 0..json.len() {
        Manifest::parse("x", &json[..end]).unwrap_err();
    }
    for byte in 0..json.len() {
        let mut flipped = json.to_vec();
        flipped[byte] ^= 1 << (byte % 8);
        Manifest::parse("x", &flipped).unwrap_err();
    }
}

/// Behind a valid seal, mutated content must be refused or be a consistent manifest, and must never panic.
#[test]
fn mutated_content_under_a_right_seal_never_panics() {
    let json = good().to_json();
    let head = std::str::from_utf8(&json).unwrap().rsplit_once(SEAL).unwrap().0.as_bytes();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let alphabet = b"0123456789-.e\"{}[],:\\/ntrufals";
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut bytes = head.to_vec();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] = alphabet[random(alphabet.len())],
                1 => bytes.insert(at, alphabet[random(alphabet.len())]),
                2 => drop(bytes.remove(at)),
                _ => {
                    let end = (at + random(40)).min(bytes.len());
                    bytes.drain(at..end);
                }
            }
        }
        let sealed = seal(&String::from_utf8_lossy(&bytes));
        if let Ok(manifest) = Manifest::parse("x", &sealed) {
            manifest.check("x").unwrap();
            accepted += 1;
        }
    }
    // Some changes are harmless, such as a digit of the cursor. If none were, nothing behind the seal was tried.
    assert!((1..10_000).contains(&accepted), "{accepted} of 20000 accepted");
}
