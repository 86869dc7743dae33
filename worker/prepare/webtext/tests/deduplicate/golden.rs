//! Normalised texts, shingles and signatures of golden texts are datatrove's; scripts/golden/dedup.py made them.

use serde::Deserialize;
use webtext::clean::split::Split;
use webtext::deduplicate::{MinHashOptions, Normaliser, Permutation, Permutations, Scratch, Signer};

const GOLDEN: &str = include_str!("../golden/dedup.jsonl");

#[derive(Deserialize)]
struct Parameters {
    bands: u32,
    rows: u32,
    words: u32,
    seed: u64,
    a: Vec<u64>,
    b: Vec<u64>,
}

#[derive(Deserialize)]
struct Line {
    text: String,
    normal: String,
    shingles: Vec<u64>,
    signature: Vec<u64>,
}

struct BetweenSpaces;

impl Split for BetweenSpaces {
    fn words<'t>(&self, text: &'t str, words: &mut Vec<&'t str>) {
        words.extend(text.split(' ').filter(|word| !word.is_empty()));
    }

    fn sentences(&self, _: &str) -> usize {
        1
    }
}

fn golden() -> (Parameters, Vec<Line>) {
    let mut lines = GOLDEN.lines();
    let parameters = serde_json::from_str(lines.next().unwrap()).unwrap();
    (parameters, lines.map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn signer(parameters: &Parameters) -> Signer {
    let Parameters { bands, rows, words, seed, a, b } = parameters;
    let options = MinHashOptions { bands: *bands, rows: *rows, words: *words, seed: *seed, bits: 64 };
    let given = a.iter().zip(b).map(|(a, b)| Permutation { a: *a, b: *b }).collect();
    let signer = Signer::new(options).unwrap();
    signer.with_permutations(Permutations::given(given)).with_split(Box::new(BetweenSpaces))
}

#[test]
fn texts_are_normalised_as_datatrove_does() {
    let mut normaliser = Normaliser::default();
    for Line { text, normal, .. } in golden().1 {
        assert_eq!(normaliser.normalise(&text), normal, "{text:?}");
    }
}

#[test]
fn with_datatroves_coefficients_shingles_and_signatures_are_datatroves() {
    let (parameters, lines) = golden();
    let signer = signer(&parameters);
    let mut scratch = Scratch::default();
    assert_eq!(signer.options(), &MinHashOptions::default());
    for Line { text, shingles, signature, .. } in &lines {
        assert_eq!(signer.shingles(text, &mut scratch), shingles, "{text:?}");
        let ours = signer.sign(text, &mut scratch);
        assert_eq!(ours.as_ref().map_or(&[][..], |ours| ours.hashes()), signature, "{text:?}");
    }
    let without = lines.iter().filter(|line| line.signature.is_empty()).count();
    assert!(lines.len() >= 38 && without >= 5, "{without} of {} have no signature", lines.len());
}
