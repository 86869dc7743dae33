//! A seeded permutation of the numbers below `count`, in constant time and memory: nothing is stored.
//!
//! A Feistel network permutes the numbers below the next even power of two. A result that is not below `count` is
//! permuted again until it is (cycle walking; fewer than four times on average).

/// Rounds of the network. Its halves may be as small as one bit, and few rounds would then mix badly.
const ROUNDS: usize = 8;

/// The increment of SplitMix64, 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A permutation of the numbers below a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permutation {
    count: u64,
    half_bits: u32,
    /// Key of each round's noise.
    round_keys: [u64; ROUNDS],
}

impl Permutation {
    /// Creates the permutation of the numbers below `count`, at least 1, under `key`.
    pub fn new(key: u64, count: u64) -> Self {
        assert!(count > 0, "nothing cannot be permuted");
        let bits = u64::BITS - (count - 1).leading_zeros();
        let round_key = |i: usize| mix(key.wrapping_add((i as u64 + 1).wrapping_mul(GOLDEN)));
        Permutation { count, half_bits: bits.div_ceil(2).max(1), round_keys: std::array::from_fn(round_key) }
    }

    /// Returns the number that `value` maps to.
    pub fn forward(&self, value: u64) -> u64 {
        self.walk(value, |halves| {
            self.round_keys.iter().fold(halves, |(left, right), key| (right, left ^ self.noise(*key, right)))
        })
    }

    /// Returns the number that maps to `value`.
    pub fn inverse(&self, value: u64) -> u64 {
        self.walk(value, |halves| {
            self.round_keys.iter().rev().fold(halves, |(left, right), key| (right ^ self.noise(*key, left), left))
        })
    }

    /// Applies the network until the result is below the count.
    fn walk(&self, mut value: u64, network: impl Fn((u64, u64)) -> (u64, u64)) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        loop {
            let (left, right) = network((value >> self.half_bits, value & mask));
            value = left << self.half_bits | right;
            if value < self.count {
                return value;
            }
        }
    }

    fn noise(&self, round_key: u64, half: u64) -> u64 {
        mix(round_key ^ half) >> (u64::BITS - self.half_bits)
    }
}

/// Derives a key for `number` under `key`.
pub fn derive(key: u64, number: u64) -> u64 {
    mix(mix(key.wrapping_add(GOLDEN)).wrapping_add(number).wrapping_add(GOLDEN))
}

/// Mixes the bits of `x` with SplitMix64's finaliser: a bijection in which every bit of the result depends on every
/// bit of `x`.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn all(key: u64, count: u64) -> Vec<u64> {
        let permutation = Permutation::new(key, count);
        (0..count).map(|value| permutation.forward(value)).collect()
    }

    #[test]
    fn it_is_a_permutation_and_has_an_inverse() {
        for count in (1..=70).chain([255, 256, 257, 1000, 65_535, 65_536, 65_537, 300_000]) {
            for key in [0, 1, 7] {
                let mut values = all(key, count);
                let permutation = Permutation::new(key, count);
                assert!(values.iter().zip(0..).all(|(value, from)| permutation.inverse(*value) == from));
                values.sort_unstable();
                assert!(values.into_iter().eq(0..count), "{count} values, key {key}");
            }
        }
    }

    /// With few values, a few permutations would expose a Feistel network.
    #[test]
    fn all_orders_of_few_values_occur() {
        for (count, orders) in [(2, 2), (3, 6), (4, 24), (5, 120)] {
            let seen: HashSet<_> = (0..3000).map(|e| all(derive(7, e), count)).collect();
            assert_eq!(seen.len(), orders, "{count} values");
        }
    }

    /// Over 1000 keys, each of 10 values comes first about 100 times; 6 standard deviations are 57.
    #[test]
    fn no_value_is_favoured() {
        for value in [0, 9] {
            let mut counts = [0_i32; 10];
            (0..1000).for_each(|e| counts[Permutation::new(derive(3, e), 10).forward(value) as usize] += 1);
            assert!(counts.iter().all(|count| (count - 100).abs() < 57), "{counts:?}");
        }
    }

    #[test]
    fn neighbours_are_scattered_and_keys_differ() {
        let (one, two) = (all(5, 10_000), all(6, 10_000));
        let near = one.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 10).count();
        assert!(near < 60, "{near} of 9999 neighbours lie within 10 of each other; chance gives about 19");
        let same = one.iter().zip(&two).filter(|(x, y)| x == y).count();
        assert!(same < 10, "{same} of 10,000 values agree; chance gives one");
    }

    #[test]
    fn huge_counts_work() {
        let permutation = Permutation::new(u64::MAX, (1 << 62) + 1);
        let value = permutation.forward(1 << 62);
        assert!(value <= 1 << 62);
        assert_eq!(permutation.inverse(value), 1 << 62);
    }

    /// The values were made by an independent implementation. If they no longer hold, no existing run can be resumed.
    #[test]
    fn golden_values() {
        // The order in which an epoch was one permutation of all sequences: seed 1337, 10 sequences, two epochs.
        let of = |epoch| all(derive(1337, epoch), 10);
        assert_eq!(of(0), [2, 7, 9, 1, 8, 4, 0, 6, 5, 3]);
        assert_eq!(of(1), [5, 7, 9, 6, 3, 4, 1, 2, 0, 8]);
    }
}
