//! Whatever a manifest says, reading it takes no more memory than its own length accounts for: a size in it is a claim, and
//! nothing is set aside for it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unsafe_code, reason = "an allocator that counts is one")]

#[path = "shared/counting.rs"]
mod counting;

use common::checkpoint_layout::manifest::MANIFEST_VERSION;
use common::checkpoint_layout::{CheckpointName, Manifest, ObjectEntry, OptimizerSlice, TensorEntry};
use common::token_shard::{BLOCK_BYTES, hex_sha256};
use counting::most_allocated_in;
use proptest::prelude::*;

/// Memory for each byte of a manifest, and for any at all.
const PER_BYTE: usize = 16;
const FIXED: usize = 64 << 10;

/// A manifest of two tensors, whose text is about to be mutated.
fn good() -> String {
    let content = vec![7; BLOCK_BYTES as usize + 1];
    let tensor =
        |name: &str, shape: &[u64]| TensorEntry { name: name.into(), shape: shape.to_vec(), object: "model".into() };
    let slice = |tensor: &str, end| OptimizerSlice {
        tensor: tensor.into(),
        start: 0,
        end,
        object: "optimizer".into(),
        exp_avg: format!("{tensor}.exp_avg"),
        exp_avg_sq: format!("{tensor}.exp_avg_sq"),
    };
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        name: CheckpointName { step: 3, attempt: 1, id: "ab12".into() },
        sequences_consumed: 24,
        updates: 3,
        grad_norms: vec![1.0, 2.0],
        skipped_in_a_row: 0,
        changes: Vec::new(),
        world_size: 2,
        tokenizer_hash: "00".into(),
        data_sequences: 100,
        data_order: 2,
        config: "[run]".into(),
        objects: ["model", "optimizer"].map(|name| ObjectEntry::describe(name, &content)).into(),
        tensors: vec![tensor("a", &[2, 3]), tensor("b", &[4])],
        optimizer: vec![slice("a", 6), slice("b", 4)],
    };
    let json = String::from_utf8(manifest.to_json().to_vec()).unwrap();
    json.rsplit_once(SEAL).unwrap().0.to_owned()
}

const SEAL: &str = ",\n  \"manifest_sha256\": \"";

/// With its own hash at the end, as docs/checkpoint-format.md has it.
fn sealed(head: &str) -> Vec<u8> {
    format!("{head}{SEAL}{}\"\n}}\n", hex_sha256(head.as_bytes())).into_bytes()
}

/// Parses `content`, counting.
fn parse(content: &[u8]) -> bool {
    let (is_accepted, most) = most_allocated_in(|| Manifest::parse("x", content).is_ok());
    let allowed = PER_BYTE * content.len() + FIXED;
    assert!(most <= allowed, "{most} bytes of memory for a manifest of {}", content.len());
    is_accepted
}

/// Replaces the numbers of `head` that `which` names, counted from its start, by others.
fn with_numbers(head: &str, which: &[(usize, u64)]) -> String {
    let (mut text, mut number, mut rest) = (String::new(), 0, head);
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let end = rest[start..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |length| start + length);
        text.push_str(&rest[..start]);
        match which.iter().find(|(index, _)| *index == number) {
            Some((_, other)) => text.push_str(&other.to_string()),
            None => text.push_str(&rest[start..end]),
        }
        (number, rest) = (number + 1, &rest[end..]);
    }
    text + rest
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn numbers_of_any_size_take_no_memory(which in prop::collection::vec((0..400_usize, any::<u64>()), 0..4)) {
        parse(&sealed(&with_numbers(&good(), &which)));
    }

    #[test]
    fn bytes_of_any_kind_take_no_memory(bytes in prop::collection::vec(any::<u8>(), 0..2000), is_sealed in any::<bool>()) {
        let content = if is_sealed { sealed(&String::from_utf8_lossy(&bytes)) } else { bytes };
        prop_assert!(!parse(&content));
    }

    #[test]
    fn any_part_left_out_or_repeated_takes_no_more_memory(
        start in 0..4000_usize, length in 0..400_usize, times in 0..5_usize
    ) {
        let head = good();
        let (start, end) = (start.min(head.len()), (start + length).min(head.len()));
        parse(&sealed(&format!("{}{}{}", &head[..start], head[start..end].repeat(times), &head[end..])));
    }
}

#[test]
fn a_good_one_is_accepted_and_what_is_allocated_is_counted() {
    assert!(parse(&sealed(&good())));
    let (_, most) = most_allocated_in(|| vec![0_u8; 1 << 20]);
    assert!((1 << 20..(1 << 20) + FIXED).contains(&most), "{most}");
}
