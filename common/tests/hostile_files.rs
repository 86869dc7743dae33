//! Reading any file ends in a value that holds or in an error, and takes no more memory than the file's own length accounts
//! for: a size in a file is a claim, for which nothing is allocated in advance.
//!
//! `tests/fuzz` has fuzz targets of these readers, which begin with the valid files in `tests/fuzz/seeds`, like these tests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unsafe_code, reason = "implements an allocator")]

#[path = "shared/counting.rs"]
mod counting;
#[path = "shared/formats.rs"]
mod formats;
#[path = "shared/hostile.rs"]
mod hostile;

use std::path::Path;

use counting::most_allocated_in;
use formats::FORMATS;
use hostile::{Change, changed, changes};
use proptest::prelude::*;
use proptest::sample::Index;

/// Memory allowed per byte of a file, in bytes.
const PER_BYTE: usize = 64;

/// Returns the valid files of a format.
fn seeds(format: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds").join(format);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Reads `content` as the format called `name`, and checks the memory taken. Returns whether it is accepted.
fn read(name: &str, content: &[u8]) -> bool {
    let (_, read, fixed) = FORMATS.iter().find(|(of, ..)| *of == name).unwrap();
    let (is_accepted, most) = most_allocated_in(|| read(content));
    let allowed = PER_BYTE * content.len() + fixed;
    assert!(most <= allowed, "{most} bytes of memory for a {name} of {}", content.len());
    is_accepted
}

fn read_changed(name: &str, which: &Index, changes: &[Change]) {
    let seeds = seeds(name);
    read(name, &changed(&seeds[which.index(seeds.len())], changes));
}

#[test]
fn the_seeds_of_every_format_are_accepted() {
    for (name, ..) in FORMATS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            let shown = String::from_utf8_lossy(&seed);
            assert!(read(name, &seed), "this is no {name} any more; put one of today's in its place:\n{shown}");
        }
    }
}

#[test]
fn what_is_allocated_is_counted() {
    let (_, most) = most_allocated_in(|| vec![0_u8; 1 << 20]);
    assert!((1 << 20..(1 << 20) + 4096).contains(&most), "{most}");
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn bytes_of_any_kind_are_read_as_any_format(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for (name, ..) in FORMATS {
            read(name, &bytes);
        }
    }
}

/// Makes a test per format, named after the format's seeds.
macro_rules! hostile {
    ($($format:ident: $cases:literal)*) => {
        mod what_is_accepted_holds {
            use super::*;

            $(proptest! {
                #![proptest_config(cases($cases))]

                #[test]
                fn $format(which: Index, changes in changes()) {
                    read_changed(stringify!($format), &which, &changes);
                }
            })*
        }
    };
}

hostile! {
    token_index: 4000
    token_shard: 1000
    manifest: 4000
    tensor_file: 4000
    tokenizer_json: 400
    tokenizer_pair: 400
    names: 2000
    claim: 2000
    metrics: 2000
    config: 4000
    overlap_filter: 1000
    score_part: 4000
}

/// One test for all formats, so that a format without seeds or target is noticed.
#[test]
fn every_format_has_seeds_and_a_fuzz_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz");
    let targets = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for (name, ..) in FORMATS {
        assert!(targets.contains(&format!("name = \"{name}\"")), "{name} has no fuzz target");
    }
}
