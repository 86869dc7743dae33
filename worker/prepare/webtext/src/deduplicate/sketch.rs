//! A part of a signature that is small enough to travel with a document.

use crate::deduplicate::minhash::Signature;

/// Bytes of a sketch.
pub const SKETCH_BYTES: usize = 64;
/// Bits that are kept of a hash.
const BITS: u32 = 4;
/// Number of hashes that are kept.
const HASHES_MAX: usize = SKETCH_BYTES * 8 / BITS as usize;
/// Probability that two different hashes have equal bits.
const CHANCE: f64 = 1.0 / (1 << BITS) as f64;

/// The lowest 4 bits of each of the first 128 hashes of a signature (Li and König, b-bit minwise hashing, 2010). All bytes are 0 for
/// a document without a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sketch(pub [u8; SKETCH_BYTES]);

impl Default for Sketch {
    fn default() -> Self {
        Sketch([0; SKETCH_BYTES])
    }
}

impl Sketch {
    /// Returns the sketch of a signature.
    pub fn of(signature: &Signature) -> Self {
        let mut sketch = Sketch::default();
        for (at, hash) in signature.hashes().iter().take(HASHES_MAX).enumerate() {
            let bits = (hash & 0xf) as u8;
            if let Some(byte) = sketch.0.get_mut(at / 2) {
                *byte |= bits << (BITS * (at as u32 % 2));
            }
        }
        sketch
    }

    /// Estimates the Jaccard similarity of two documents, from 0 to 1, by sketches of signatures of `hashes` hashes each. Returns `None`
    /// if one has no signature.
    ///
    /// It is the share m of equal hashes, less those that are equal by chance: (m - c) / (1 - c) with c = 1/16. Its standard error is
    /// below 0.05 for 112 hashes.
    pub fn similarity(&self, other: &Sketch, hashes: usize) -> Option<f64> {
        let hashes = hashes.min(HASHES_MAX);
        if hashes == 0 || *self == Sketch::default() || *other == Sketch::default() {
            return None;
        }
        let equal = (0..hashes).filter(|at| self.bits(*at) == other.bits(*at)).count();
        Some(((equal as f64 / hashes as f64 - CHANCE) / (1.0 - CHANCE)).clamp(0.0, 1.0))
    }

    fn bits(&self, at: usize) -> u8 {
        let byte = self.0.get(at / 2).copied().unwrap_or_default();
        byte >> (BITS * (at as u32 % 2)) & 0xf
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deduplicate::minhash::{Scratch, Signer};
    use crate::deduplicate::options::MinHashOptions;

    #[test]
    fn a_sketch_estimates_what_its_signature_does() {
        let options = MinHashOptions::default();
        let signer = Signer::new(options).unwrap();
        let mut scratch = Scratch::default();
        let words: Vec<String> = (0..400)
            .map(|number| format!("word{}", "abcdefghij".repeat(number % 7) + &"xy".repeat(number % 13)))
            .collect();
        let one = signer.sign(&words.join(" "), &mut scratch).unwrap();
        for share in [0, 20, 60, 200] {
            let other: Vec<String> = words
                .iter()
                .enumerate()
                .map(|(at, word)| if at < share { format!("{word}z") } else { word.clone() })
                .collect();
            let other = signer.sign(&other.join(" "), &mut scratch).unwrap();
            let estimate = Sketch::of(&one).similarity(&Sketch::of(&other), options.hashes()).unwrap();
            let expected = one.similarity(&other, &options);
            assert!((estimate - expected).abs() < 0.1, "{share}: {estimate} {expected}");
            assert_eq!(estimate == 1.0, share == 0);
        }
    }

    #[test]
    fn without_a_signature_there_is_no_estimate() {
        let sketch = Sketch::of(&Signature::of_hashes(vec![1; 200]));
        assert_eq!(sketch.similarity(&Sketch::default(), 112), None);
        assert_eq!(sketch.similarity(&sketch, 112), Some(1.0));
        assert_eq!(sketch.similarity(&sketch, 0), None);
    }
}
