//! Parameters of MinHash signatures, their bounds, and the similarity at which they find a pair.

use serde::{Deserialize, Serialize};

use crate::clean::options::{Fault, OptionsError};

/// Largest number of hashes of a signature.
pub const HASHES_MAX: u32 = 4096;
/// Largest number of words of a shingle.
pub const WORDS_MAX: u32 = 64;
/// Numbers of bits that a hash may have.
pub const BITS: [u32; 4] = [8, 16, 32, 64];

/// Parameters of signatures. The defaults are FineWeb's.
///
/// A signature has `bands` x `rows` hashes. Two documents are a pair if all rows of one band are equal. Of two documents with the
/// Jaccard similarity s, a row is equal with probability s, so they become a pair with probability 1 - (1 - s^rows)^bands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MinHashOptions {
    /// Bands of a signature. More bands find more pairs. Default 14.
    pub bands: u32,
    /// Hashes of a band. More rows find fewer pairs, and only similar ones. Default 8.
    pub rows: u32,
    /// Bits that are kept of each hash: 8, 16, 32 or 64, the default. Fewer make smaller files of signatures, and a few more pairs.
    pub bits: u32,
    /// Words of a shingle: documents are compared as sets of n-grams of words. Default 5. A document of fewer words has no signature.
    pub words: u32,
    /// Seed of the permutations. Signatures can only be compared with those of one seed. Default 1.
    pub seed: u64,
}

impl Default for MinHashOptions {
    fn default() -> Self {
        MinHashOptions { bands: 14, rows: 8, bits: 64, words: 5, seed: 1 }
    }
}

impl MinHashOptions {
    /// Checks the bounds of all values.
    ///
    /// # Errors
    /// Returns all faults.
    pub fn check(&self) -> Result<(), OptionsError> {
        let hashes = u64::from(self.bands) * u64::from(self.rows);
        let is_in = |value: u32, most: u32| (1..=most).contains(&value);
        let values = [
            (is_in(self.bands, HASHES_MAX), "bands", self.bands, FROM_ONE),
            (is_in(self.rows, HASHES_MAX), "rows", self.rows, FROM_ONE),
            (hashes <= u64::from(HASHES_MAX), "rows", self.rows, HASHES),
            (BITS.contains(&self.bits), "bits", self.bits, KINDS_OF_BITS),
            (is_in(self.words, WORDS_MAX), "words", self.words, WORDS),
        ];
        let fault = |(_, key, value, (expected, hint)): (bool, &str, u32, Expected)| Fault {
            key: format!("minhash.{key}"),
            value: value.to_string(),
            expected,
            hint,
        };
        let faults: Vec<Fault> = values.into_iter().filter(|(is_good, ..)| !is_good).map(fault).collect();
        if faults.is_empty() { Ok(()) } else { Err(OptionsError { faults }) }
    }

    /// Returns the number of hashes of a signature.
    pub fn hashes(&self) -> usize {
        (self.bands as usize).saturating_mul(self.rows as usize)
    }

    /// Returns the probability that two documents become a pair, by their Jaccard similarity from 0 to 1.
    ///
    /// It is 1 - (1 - t^rows)^bands (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4), with
    /// t = s + (1 - s) / 2^bits for the similarity s, since hashes of few bits are sometimes equal by chance.
    pub fn probability(&self, similarity: f64) -> f64 {
        let row = similarity + (1.0 - similarity) * self.chance();
        1.0 - (1.0 - row.powf(f64::from(self.rows))).powf(f64::from(self.bands))
    }

    /// Returns the similarity about which the probability rises most steeply: (1 / bands)^(1 / rows).
    pub fn threshold(&self) -> f64 {
        f64::from(self.bands).recip().powf(f64::from(self.rows).recip())
    }

    /// Returns the probability that two different hashes have equal bits.
    pub(crate) fn chance(&self) -> f64 {
        (-f64::from(self.bits)).exp2()
    }

    /// Returns the bits of a hash that are kept.
    pub(crate) fn mask(&self) -> u64 {
        u64::MAX.checked_shr(u64::BITS.saturating_sub(self.bits)).unwrap_or(0)
    }

    /// Returns the bytes of a hash that are kept.
    pub(crate) fn hash_bytes(&self) -> usize {
        (self.bits as usize / 8).min(size_of::<u64>())
    }
}

/// What a value has to be, and what to do.
type Expected = (&'static str, &'static str);
const FROM_ONE: Expected = ("from 1 to 4096", "write 14 bands and 8 rows as FineWeb has them");
const HASHES: Expected = ("bands x rows of at most 4096", "lower one of them; FineWeb has 14 x 8 = 112");
const KINDS_OF_BITS: Expected = ("8, 16, 32 or 64", "write 64 as FineWeb has it");
const WORDS: Expected = ("from 1 to 64", "write 5 as FineWeb has it");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fineweb_finds_a_pair_of_similarity_0_8_with_probability_0_92() {
        let options = MinHashOptions::default();
        options.check().unwrap();
        assert!((options.probability(0.8) - 0.924).abs() < 0.001);
        assert!((options.threshold() - 0.719).abs() < 0.001);
        assert_eq!((options.probability(0.0), options.probability(1.0)), (0.0, 1.0));
        assert_eq!((options.mask(), options.hash_bytes(), options.hashes()), (u64::MAX, 8, 112));
        let few = MinHashOptions { bits: 8, ..options };
        assert_eq!((few.mask(), few.hash_bytes()), (0xff, 1));
        assert!(few.probability(0.5) > options.probability(0.5));
    }

    #[test]
    fn all_faults_are_told_at_once_with_key_value_and_hint() {
        let options = MinHashOptions { bands: 0, rows: 4097, bits: 12, words: 65, seed: 0 };
        let error = options.check().unwrap_err();
        let keys: Vec<&str> = error.faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, ["minhash.bands", "minhash.rows", "minhash.bits", "minhash.words"]);
        let many = MinHashOptions { bands: 100, rows: 41, ..MinHashOptions::default() };
        let expected =
            "minhash.rows = 41: expected bands x rows of at most 4096; lower one of them; FineWeb has 14 x 8 = 112";
        assert_eq!(many.check().unwrap_err().to_string(), expected);
        let most = MinHashOptions { bands: u32::MAX, rows: u32::MAX, ..MinHashOptions::default() };
        assert_eq!(most.check().unwrap_err().faults.len(), 3);
    }

    #[test]
    fn options_are_read_with_defaults_and_unknown_keys_are_refused() {
        let options: MinHashOptions = serde_json::from_str(r#"{"bands": 20, "rows": 13}"#).unwrap();
        assert_eq!(options, MinHashOptions { bands: 20, rows: 13, ..MinHashOptions::default() });
        let error = serde_json::from_str::<MinHashOptions>(r#"{"buckets": 14}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `buckets`"), "{error}");
    }
}
