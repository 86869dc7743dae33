//! A Bloom filter of grams.

use crate::overlap::error::FilterError;
use crate::overlap::grams::{Gram, grams};

/// Highest rate of false positives of a filter that holds as many grams as it is made for: the paper's.
pub const FALSE_POSITIVES_MAX: f64 = 1e-8;

/// Bits per gram. With [`HASHES`] places each, (1 - e^(-27/40))^27 = 4.5e-9 of foreign grams are taken for own ones.
const BITS_PER_GRAM: u64 = 40;
/// Places of a gram.
pub(super) const HASHES: u32 = 27;
/// Most bits: 16 TiB.
pub(super) const BITS_MAX: u64 = 1 << 47;

/// A Bloom filter of grams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    pub(super) seed: u64,
    pub(super) capacity: u64,
    pub(super) inserted: u64,
    pub(super) bits: Vec<u64>,
}

impl Filter {
    /// Returns an empty filter for this many different grams.
    ///
    /// # Errors
    /// Returns an error if there is not so much memory.
    pub fn new(capacity: u64, seed: u64) -> Result<Self, FilterError> {
        let words = Self::bytes(capacity)? / 8;
        let words = usize::try_from(words).map_err(|_| FilterError::Capacity { grams: capacity })?;
        let mut bits = Vec::new();
        bits.try_reserve_exact(words).map_err(|_| FilterError::Capacity { grams: capacity })?;
        bits.resize(words, 0);
        Ok(Filter { seed, capacity, inserted: 0, bits })
    }

    /// Returns the memory, in bytes, of a filter for this many different grams. A text has about as many grams as words.
    ///
    /// # Errors
    /// Returns an error if it would have more bits than any machine.
    pub fn bytes(capacity: u64) -> Result<u64, FilterError> {
        let bits = capacity.checked_mul(BITS_PER_GRAM).filter(|bits| *bits <= BITS_MAX);
        Ok(bits.ok_or(FilterError::Capacity { grams: capacity })?.div_ceil(64).max(1) * 8)
    }

    /// Adds the grams of a text.
    pub fn insert_text(&mut self, text: &str) {
        grams(text, self.seed, |gram| self.insert(gram));
    }

    /// Adds a gram.
    pub fn insert(&mut self, gram: Gram) {
        let mut is_new = false;
        for (word, bit) in places(gram, self.bits.len()) {
            is_new |= self.bits[word] & bit == 0;
            self.bits[word] |= bit;
        }
        // A file may state any number.
        self.inserted = self.inserted.saturating_add(u64::from(is_new));
    }

    /// Returns whether the filter holds a gram. It may be wrong if it says so, and never if not.
    pub fn contains(&self, gram: Gram) -> bool {
        places(gram, self.bits.len()).all(|(word, bit)| self.bits[word] & bit != 0)
    }

    /// Adds what another filter holds, as of another rank's share of the data.
    ///
    /// # Errors
    /// Returns an error unless both are made for as many grams and have one seed.
    pub fn merge(&mut self, other: &Filter) -> Result<(), FilterError> {
        if (self.seed, self.capacity, self.bits.len()) != (other.seed, other.capacity, other.bits.len()) {
            return Err(FilterError::Different {
                ours: (self.capacity, self.seed),
                theirs: (other.capacity, other.seed),
            });
        }
        self.bits.iter_mut().zip(&other.bits).for_each(|(ours, theirs)| *ours |= theirs);
        // Grams that both hold are counted twice.
        self.inserted = self.inserted.saturating_add(other.inserted);
        Ok(())
    }

    /// Returns the bits, 64 a word, as ranks exchange them.
    pub fn words(&self) -> &[u64] {
        &self.bits
    }

    /// Adds bits of a filter of the same capacity and seed: `words` are those of [`Filter::words`] from number `at` on. Words
    /// beyond the last one are left out.
    pub fn merge_words(&mut self, at: usize, words: &[u64]) {
        self.bits.iter_mut().skip(at).zip(words).for_each(|(ours, theirs)| *ours |= theirs);
    }

    /// Sets the number of different grams that were added, which several ranks sum.
    pub fn set_inserted(&mut self, inserted: u64) {
        self.inserted = inserted;
    }

    /// Returns the rate of false positives now, from the share of bits that are set.
    pub fn false_positives(&self) -> f64 {
        let set: u64 = self.bits.iter().map(|word| u64::from(word.count_ones())).sum();
        (set as f64 / (self.bits.len() as f64 * 64.0)).powi(HASHES as i32)
    }

    /// Returns the seed of its hashes.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the number of different grams that were added; of merged filters, the sum of theirs.
    pub fn inserted(&self) -> u64 {
        self.inserted
    }

    /// Returns the number of different grams that it is made for.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }
}

/// Returns the places of a gram among `words` words of bits. They are independent of each other: with places in equal steps,
/// as many filters have them, small filters would be wrong more often.
fn places(gram: Gram, words: usize) -> impl Iterator<Item = (usize, u64)> {
    let (first, step) = (gram.0 as u64, (gram.0 >> 64) as u64 | 1);
    (0..u64::from(HASHES)).map(move |hash| {
        let mixed = mix(first.wrapping_add(hash.wrapping_mul(step)));
        let word = (u128::from(mixed) * words as u128) >> 64;
        // The word comes from the high bits, and the bit from the low ones.
        (word as usize, 1 << (mix(mixed) % 64))
    })
}

/// SplitMix64's finalizer.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gram(number: u64) -> Gram {
        Gram((u128::from(mix(number)) << 64) | u128::from(mix(!number)))
    }

    #[test]
    fn nothing_that_was_added_is_missed_and_foreign_grams_are_not_found() {
        let mut filter = Filter::new(10_000, 1).unwrap();
        (0..10_000).for_each(|number| filter.insert(gram(number)));
        assert!((0..10_000).all(|number| filter.contains(gram(number))));
        // Of a million foreign grams, 0.0045 are expected to be found.
        assert_eq!((1_000_000..2_000_000).filter(|number| filter.contains(gram(*number))).count(), 0);
        assert_eq!(filter.inserted(), 10_000);
    }

    #[test]
    fn a_full_filter_keeps_its_rate_and_says_when_it_is_overfull() {
        let mut filter = Filter::new(50_000, 2).unwrap();
        (0..50_000).for_each(|number| filter.insert(gram(number)));
        let rate = filter.false_positives();
        assert!(rate <= FALSE_POSITIVES_MAX && rate > 1e-9, "{rate}");
        (50_000..100_000).for_each(|number| filter.insert(gram(number)));
        assert!(filter.false_positives() > 1e-5);
    }

    #[test]
    fn the_formula_of_the_rate_holds_where_it_can_be_measured() {
        // Five times as many grams as it is made for, so that false positives can be counted.
        let mut filter = Filter::new(400, 3).unwrap();
        (0..2_000).for_each(|number| filter.insert(gram(number)));
        let found = (10_000..210_000).filter(|number| filter.contains(gram(*number))).count() as f64;
        let expected = filter.false_positives() * 200_000.0;
        assert!(expected > 1_000.0 && (found - expected).abs() < 0.2 * expected, "{found} instead of {expected}");
    }

    #[test]
    fn filters_of_shares_make_the_filter_of_the_whole() {
        let mut whole = Filter::new(100, 4).unwrap();
        let (mut first, mut second) = (whole.clone(), whole.clone());
        (0..100).for_each(|number| whole.insert(gram(number)));
        (0..60).for_each(|number| first.insert(gram(number)));
        (60..100).for_each(|number| second.insert(gram(number)));
        first.merge(&second).unwrap();
        assert_eq!(first, whole);
        assert!(
            first.merge(&Filter::new(101, 4).unwrap()).is_err() && first.merge(&Filter::new(100, 5).unwrap()).is_err()
        );
    }

    #[test]
    fn filters_are_merged_in_pieces_of_any_size() {
        let mut whole = Filter::new(100, 4).unwrap();
        let (mut first, mut second) = (whole.clone(), whole.clone());
        (0..60).for_each(|number| first.insert(gram(number)));
        (60..100).for_each(|number| second.insert(gram(number)));
        for part in [&first, &second] {
            for (number, words) in part.words().chunks(17).enumerate() {
                whole.merge_words(17 * number, words);
            }
        }
        whole.set_inserted(first.inserted() + second.inserted());
        let last = whole.words().len() - 1;
        whole.merge_words(last, &[0, u64::MAX]);
        first.merge(&second).unwrap();
        assert_eq!(first, whole);
    }

    #[test]
    fn a_filter_for_nothing_holds_nothing_and_one_for_everything_is_refused() {
        let empty = Filter::new(0, 0).unwrap();
        assert!(!empty.contains(gram(1)) && empty.false_positives() == 0.0);
        assert!(Filter::new(u64::MAX, 0).is_err() && Filter::bytes(1 << 43).is_err());
        assert_eq!(Filter::bytes(1_000_000_000).unwrap(), 5_000_000_000);
    }
}
