//! The share of pairs that are found is what theory gives, and so is the estimate of their similarity.

use std::collections::HashSet;

use webtext::deduplicate::{MinHashOptions, Scratch, Signer};

use crate::support::{Random, is_pair, word};

const PAIRS: usize = 10_000;

/// Share of pairs that are found, and mean and deviation of their estimated similarity, of sets of shingles that have `common` of
/// 100 in common.
fn measure(options: MinHashOptions, common: usize, random: &mut Random) -> (f64, f64, f64) {
    let signer = Signer::new(options).unwrap();
    let (mut found, mut sum, mut squares) = (0, 0.0, 0.0);
    for _ in 0..PAIRS {
        let union: Vec<u64> = (0..100).map(|_| random.number()).collect();
        let (shared, own) = union.split_at(common);
        let (of_one, of_other) = own.split_at(own.len() / 2);
        let sign = |own: &[u64]| signer.sign_shingles(&[shared, own].concat()).unwrap();
        let (one, other) = (sign(of_one), sign(of_other));
        let similarity = one.similarity(&other, &options);
        found += usize::from(is_pair(&one, &other, &options));
        sum += similarity;
        squares += similarity * similarity;
    }
    let (pairs, mean) = (PAIRS as f64, sum / PAIRS as f64);
    (found as f64 / pairs, mean, (squares / pairs - mean * mean).sqrt())
}

#[test]
fn pairs_of_known_similarity_are_found_as_often_as_theory_says() {
    for seed in 1..=3 {
        let options = MinHashOptions { seed, ..MinHashOptions::default() };
        let mut random = Random::seeded(seed + 100);
        for common in [30_u32, 50, 60, 70, 75, 80, 85, 90] {
            let similarity = f64::from(common) / 100.0;
            let expected = 1.0 - (1.0 - similarity.powi(8)).powi(14);
            let (found, mean, deviation) = measure(options, common as usize, &mut random);
            println!(
                "seed {seed}, similarity {similarity}: {found:.4} found, {expected:.4} expected, {mean:.4} estimated"
            );
            assert!((found - expected).abs() < 0.02, "seed {seed}, similarity {similarity}: {found} for {expected}");
            assert!((options.probability(similarity) - expected).abs() < 1e-9);
            assert!((mean - similarity).abs() < 0.01, "seed {seed}, similarity {similarity}: estimated {mean}");
            let error = (similarity * (1.0 - similarity) / 112.0).sqrt();
            assert!((deviation / error - 1.0).abs() < 0.1, "seed {seed}: deviation {deviation} for {error}");
        }
    }
}

#[test]
fn fewer_bits_are_allowed_for() {
    let options = MinHashOptions { bits: 8, rows: 4, bands: 10, ..MinHashOptions::default() };
    let mut random = Random::seeded(7);
    for common in [10_u32, 50, 70] {
        let similarity = f64::from(common) / 100.0;
        let (found, mean, _) = measure(options, common as usize, &mut random);
        let expected = options.probability(similarity);
        assert!((found - expected).abs() < 0.02, "similarity {similarity}: {found} for {expected}");
        assert!((mean - similarity).abs() < 0.01, "similarity {similarity}: estimated {mean}");
    }
}

/// Jaccard similarity of two texts' sets of 5-grams.
fn jaccard(one: &[String], other: &[String]) -> f64 {
    let grams = |words: &[String]| words.windows(5).map(|gram| gram.join(" ")).collect::<HashSet<_>>();
    let (one, other) = (grams(one), grams(other));
    let common = one.intersection(&other).count();
    common as f64 / (one.len() + other.len() - common) as f64
}

#[test]
fn texts_with_some_words_replaced_are_found_as_often_as_theory_says() {
    let options = MinHashOptions::default();
    let signer = Signer::new(options).unwrap();
    let mut scratch = Scratch::default();
    for (seed, replaced) in [(1, 2), (2, 5), (3, 8), (4, 12)] {
        let mut random = Random::seeded(seed);
        let (mut found, mut expected) = (0, 0.0);
        for _ in 0..PAIRS {
            let words = random.words(200, 5000);
            let mut edited = words.clone();
            for _ in 0..replaced {
                let at = random.below(edited.len());
                edited[at] = word(5000 + random.below(5000));
            }
            let similarity = jaccard(&words, &edited);
            expected += 1.0 - (1.0 - similarity.powi(8)).powi(14);
            let one = signer.sign(&words.join(" "), &mut scratch).unwrap();
            let other = signer.sign(&edited.join("\r\n").to_uppercase(), &mut scratch).unwrap();
            found += usize::from(is_pair(&one, &other, &options));
        }
        let (found, expected) = (found as f64 / PAIRS as f64, expected / PAIRS as f64);
        println!("{replaced} of 200 words replaced: {found:.4} found, {expected:.4} expected");
        assert!((found - expected).abs() < 0.02, "{replaced} of 200 words replaced: {found} for {expected}");
    }
}
