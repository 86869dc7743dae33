//! The order of training sequences: a pure function of the seed and the number of the sequence.
//!
//! Epoch after epoch, each sequence of the data set comes once, in an order of that epoch's own. The order is never
//! stored: a Feistel network permutes the numbers below the next even power of two, and a result that is not a
//! sequence is permuted again until it is one (cycle walking; fewer than four times on average). So any number can
//! be asked for at once, in constant time and memory, and a resumed run needs no more than the count it stopped at.
//!
//! The order is part of the format of a run: changing anything here breaks the resumption of every run that exists.

/// Rounds of the network; its halves may be as small as one bit, where few rounds would mix badly.
const ROUNDS: u64 = 8;

/// The increment of SplitMix64, 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The order in which the sequences of one data set are consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    seed: u64,
    sequences: u64,
}

impl Order {
    /// The order of a data set of `sequences` sequences, at least one, under `run.seed`.
    pub fn new(seed: u64, sequences: u64) -> Self {
        assert!(sequences > 0, "a data set without sequences has no order");
        Order { seed, sequences }
    }

    /// The position in the data set of training sequence `number`, which counts from 0 over the whole run.
    pub fn position(&self, number: u64) -> u64 {
        let epoch = number / self.sequences;
        let key = mix(mix(self.seed.wrapping_add(GOLDEN)).wrapping_add(epoch).wrapping_add(GOLDEN));
        let mut position = number % self.sequences;
        loop {
            position = self.permute(key, position);
            if position < self.sequences {
                return position;
            }
        }
    }

    /// A permutation of the numbers below 2^(2 h), the smallest such range that holds every position.
    fn permute(&self, key: u64, value: u64) -> u64 {
        let bits = u64::BITS - (self.sequences - 1).leading_zeros();
        let half_bits = bits.div_ceil(2).max(1);
        let mask = (1 << half_bits) - 1;
        let (mut left, mut right) = (value >> half_bits, value & mask);
        for round in 1..=ROUNDS {
            let round_key = key.wrapping_add(round.wrapping_mul(GOLDEN));
            let noise = mix(mix(round_key) ^ right) >> (u64::BITS - half_bits);
            (left, right) = (right, left ^ noise);
        }
        left << half_bits | right
    }
}

/// SplitMix64's finaliser: a bijection in which every bit of the result depends on every bit of `x`.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn epoch(seed: u64, sequences: u64, epoch: u64) -> Vec<u64> {
        let order = Order::new(seed, sequences);
        (epoch * sequences..(epoch + 1) * sequences).map(|n| order.position(n)).collect()
    }

    #[test]
    fn every_epoch_is_a_permutation() {
        for sequences in (1..=70).chain([255, 256, 257, 1000, 65_535, 65_536, 65_537, 300_000]) {
            for e in [0, 1, 7] {
                let mut positions = epoch(42, sequences, e);
                positions.sort_unstable();
                assert!(positions.into_iter().eq(0..sequences), "{sequences} sequences, epoch {e}");
            }
        }
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let orders = [epoch(1, 1000, 0), epoch(1, 1000, 1), epoch(1, 1000, 2), epoch(2, 1000, 0), epoch(0, 1000, 1)];
        for (i, a) in orders.iter().enumerate() {
            assert!(!a.iter().copied().eq(0..1000), "order {i} is sorted");
            for b in &orders[..i] {
                let same = a.iter().zip(b).filter(|(x, y)| x == y).count();
                assert!(same < 10, "{same} of 1000 positions agree; chance gives one");
            }
        }
    }

    /// Tiny data sets are where a Feistel network could be caught in a few permutations.
    #[test]
    fn all_orders_of_few_sequences_occur() {
        for (sequences, orders) in [(2, 2), (3, 6), (4, 24), (5, 120)] {
            let seen: HashSet<_> = (0..3000).map(|e| epoch(7, sequences, e)).collect();
            assert_eq!(seen.len(), orders, "{sequences} sequences");
        }
    }

    /// Over 1000 epochs each of 10 sequences comes first about 100 times; 6 standard deviations are 57.
    #[test]
    fn no_sequence_is_favoured() {
        for number in [0, 9] {
            let order = Order::new(3, 10);
            let mut counts = [0_i32; 10];
            (0..1000).for_each(|e| counts[order.position(e * 10 + number) as usize] += 1);
            assert!(counts.iter().all(|count| (count - 100).abs() < 57), "{counts:?}");
        }
    }

    #[test]
    fn neighbours_are_scattered() {
        let positions = epoch(5, 10_000, 0);
        let near = positions.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 10).count();
        assert!(near < 60, "{near} of 9999 neighbours lie within 10 of each other; chance gives about 19");
    }

    #[test]
    fn huge_data_sets_and_late_numbers_work() {
        let order = Order::new(u64::MAX, (1 << 62) + 1);
        assert!(order.position(u64::MAX) <= 1 << 62);
        assert_eq!(Order::new(9, 1).position(u64::MAX), 0);
    }

    /// Made by an independent implementation; if they no longer hold, no existing run can be resumed.
    #[test]
    fn golden_positions() {
        let of = |seed, sequences, numbers: &[u64]| -> Vec<u64> {
            numbers.iter().map(|n| Order::new(seed, sequences).position(*n)).collect()
        };
        let two_epochs: Vec<u64> = (0..20).collect();
        assert_eq!(of(1337, 10, &two_epochs), [2, 7, 9, 1, 8, 4, 0, 6, 5, 3, 5, 7, 9, 6, 3, 4, 1, 2, 0, 8]);
        assert_eq!(
            of(0, 65_537, &[0, 1, 2, 65_536, 65_537, 1_000_000_000_000]),
            [57_811, 12_318, 1917, 16_688, 8148, 2315]
        );
        assert_eq!(of(u64::MAX, 9_035_582, &[0, 1, 9_035_582, u64::MAX]), [4_857_573, 6_657_983, 266_868, 6_785_696]);
    }
}
