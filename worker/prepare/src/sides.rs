//! Decides which documents are for training and which for validation.
//!
//! The side of a document is a function of its text, the seed and the fraction. Documents with equal text are therefore on
//! one side, and a document stays on its side when others are added.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::tally::Tally;

/// A side of the data. Work files have the sides in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Documents to train on.
    Train,
    /// Documents to measure the validation loss on.
    Validation,
}

impl Side {
    /// Both sides, in order.
    pub const ALL: [Side; 2] = [Side::Train, Side::Validation];

    /// Returns the name of the side's folder in the output.
    pub fn folder(self) -> &'static str {
        match self {
            Side::Train => crate::TRAIN_FOLDER,
            Side::Validation => crate::VALIDATION_FOLDER,
        }
    }
}

/// Bound on the hash of a text: below it, the text is for validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound(pub u64);

impl Bound {
    /// Returns the bound with about `fraction` of all texts below it.
    pub fn of(fraction: f64) -> Self {
        Bound((fraction * 2f64.powi(64)) as u64)
    }

    /// Returns the side of a text.
    pub fn side(self, text_hash: u64) -> Side {
        if text_hash < self.0 { Side::Validation } else { Side::Train }
    }

    /// Returns the nearest bound that leaves neither side empty, which may be this one. Without a validation side it is this
    /// one; where all texts are equal, no text is for validation.
    pub fn mended(self, tally: &Tally) -> Self {
        match tally.hashes {
            Some((lowest, highest)) if lowest == highest => Bound(0),
            Some((lowest, highest)) if self.0 > 0 => Bound(self.0.clamp(lowest + 1, highest)),
            _ => self,
        }
    }
}

/// Returns the hash of a text that decides on its side: XXH3, 64 bits, of the text in UTF-8 under the seed. Nobody has a
/// reason to forge one, so it may be a fast hash.
pub fn text_hash(seed: u64, text: &str) -> u64 {
    xxh3_64_with_seed(text.as_bytes(), seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(hashes: &[u64]) -> Tally {
        let mut tally = Tally::default();
        hashes.iter().for_each(|hash| tally.keep(1, 1, *hash));
        tally
    }

    fn sizes(hashes: &[u64], fraction: f64) -> (usize, usize) {
        let bound = Bound::of(fraction).mended(&tally(hashes));
        let validation = hashes.iter().filter(|hash| bound.side(**hash) == Side::Validation).count();
        (hashes.len() - validation, validation)
    }

    #[test]
    fn the_text_hash_is_pinned() {
        // python3: xxhash.xxh3_64_hexdigest("abc", seed=2)
        assert_eq!(format!("{:016x}", text_hash(2, "abc")), "e2af69bada306fec");
    }

    #[test]
    fn neither_side_is_empty_when_there_are_two_texts() {
        assert_eq!(sizes(&[5, 6], 1e-12), (1, 1));
        assert_eq!(sizes(&[5, u64::MAX], 0.999), (1, 1));
        assert_eq!(sizes(&[5, 6], 0.999), (1, 1));
        assert_eq!(sizes(&[0, 0, u64::MAX], 0.5), (1, 2));
        assert_eq!(sizes(&[5, 6], 0.0), (2, 0));
        // A single text cannot be on two sides.
        assert_eq!(sizes(&[5], 0.5), (1, 0));
        assert_eq!(sizes(&[5, 5], 0.5), (2, 0));
        assert_eq!(sizes(&[], 0.5), (0, 0));
    }

    #[test]
    fn the_fraction_holds() {
        let hashes: Vec<u64> = (0..10_000).map(|i: u64| text_hash(3, &i.to_string())).collect();
        let (_, validation) = sizes(&hashes, 0.1);
        assert!((900..1100).contains(&validation), "{validation}");
    }
}
