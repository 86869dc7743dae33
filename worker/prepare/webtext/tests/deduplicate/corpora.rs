//! Edited copies of real documents are found as often as theory says, by the similarity that they really have.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use serde::Deserialize;
use webtext::deduplicate::{MinHashOptions, Scratch, Signer};

use crate::support::{Random, is_pair};

const PAIRS: usize = 10_000;
/// Words of a document that are taken.
const WORDS: usize = 200;

#[derive(Deserialize)]
struct Line {
    text: String,
}

/// Beginnings of the documents of openwebtext1000. Returns `None`, and prints the reason, if it is not there.
fn documents() -> Option<Vec<Vec<String>>> {
    let corpora = match std::env::var_os("CONVOY_CORPORA") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../../shared/corpora")),
    };
    let path = corpora.join("openwebtext1000/openwebtext-1000.decoded.jsonl");
    let Ok(file) = std::fs::File::open(&path) else {
        println!("skipped: no {}; CONVOY_CORPORA names another folder", path.display());
        return None;
    };
    let texts = BufReader::new(file).lines().map(|line| serde_json::from_str::<Line>(&line.unwrap()).unwrap().text);
    let words = texts.map(|text| text.split_whitespace().take(WORDS).map(str::to_owned).collect::<Vec<_>>());
    Some(words.filter(|words| words.len() == WORDS).collect())
}

/// Makes `edits` edits: words are replaced by others of the document, left out, or put in.
fn edit(words: &[String], edits: usize, random: &mut Random) -> Vec<String> {
    let mut edited = words.to_vec();
    for _ in 0..edits {
        let at = random.below(edited.len());
        let word = words[random.below(words.len())].clone();
        match random.below(3) {
            0 => edited[at] = word,
            1 => drop(edited.remove(at)),
            _ => edited.insert(at, word),
        }
    }
    edited
}

#[test]
fn edited_copies_of_real_documents_are_found_as_often_as_theory_says() {
    let Some(documents) = documents() else { return };
    assert!(documents.len() > 700, "{} documents", documents.len());
    for seed in 1..=3 {
        let options = MinHashOptions { seed, ..MinHashOptions::default() };
        let signer = Signer::new(options).unwrap();
        let (mut scratch, mut random) = (Scratch::default(), Random::seeded(seed));
        let mut shingles = |words: &[String]| signer.shingles(&words.join(" "), &mut scratch).to_vec();
        for edits in [3, 6, 9, 12] {
            let (mut found, mut expected) = (0, 0.0);
            for document in documents.iter().cycle().take(PAIRS) {
                let (one, other) = (shingles(document), shingles(&edit(document, edits, &mut random)));
                let signed = |shingles: &[u64]| signer.sign_shingles(shingles).unwrap();
                found += usize::from(is_pair(&signed(&one), &signed(&other), &options));
                let (one, other): (HashSet<u64>, HashSet<u64>) =
                    (one.into_iter().collect(), other.into_iter().collect());
                let common = one.intersection(&other).count() as f64;
                let similarity = common / ((one.len() + other.len()) as f64 - common);
                expected += 1.0 - (1.0 - similarity.powi(8)).powi(14);
            }
            let (found, expected) = (found as f64 / PAIRS as f64, expected / PAIRS as f64);
            println!("seed {seed}, {edits} edits: {found:.4} found, {expected:.4} expected");
            assert!((found - expected).abs() < 0.02, "seed {seed}, {edits} edits: {found} for {expected}");
        }
    }
}
