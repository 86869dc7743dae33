//! Permutations of shingles: the k-th hash of a signature is the smallest that its permutation makes of any shingle.
//!
//! They are datatrove's: (a x + b mod 2^64) mod (2^61 - 1), with a product that wraps around as numpy's does. datatrove draws a and b
//! from numpy's generator; Convoy draws its own from SplitMix64, so that nothing else has to be kept than a seed.

/// Values are below this prime.
pub const PRIME: u64 = (1 << 61) - 1;
/// Permutations that are applied to a shingle at once: their smallest values fit into registers.
const AT_ONCE: usize = 4;

/// A permutation of 64-bit numbers, followed by the remainder modulo [`PRIME`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permutation {
    /// Factor.
    pub a: u64,
    /// Summand.
    pub b: u64,
}

impl Permutation {
    fn apply(self, shingle: u64) -> u64 {
        let value = self.a.wrapping_mul(shingle).wrapping_add(self.b);
        // 2^61 is 1 modulo the prime, so the upper 3 bits are added to the others. A sum of at least the prime is one step too
        // high, and any lower one becomes larger than itself by that step.
        let sum = (value & PRIME).wrapping_add(value >> 61);
        sum.min(sum.wrapping_sub(PRIME))
    }
}

/// All permutations of a signature, those of the first band first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permutations(Vec<Permutation>);

impl Permutations {
    /// Draws `count` permutations.
    ///
    /// Numbers are SplitMix64's, begun with `seed` (Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, 2014).
    /// Each is shifted right by 3 bits, and drawn again where it is not below [`PRIME`]. Of each permutation a is drawn first and its
    /// lowest bit is set, so that the product loses nothing; then b.
    pub fn seeded(seed: u64, count: usize) -> Self {
        let mut numbers = SplitMix64(seed);
        let mut below_prime = |set: u64| loop {
            let number = numbers.draw() >> 3 | set;
            if number < PRIME {
                return number;
            }
        };
        Permutations((0..count).map(|_| Permutation { a: below_prime(1), b: below_prime(0) }).collect())
    }

    /// Returns given permutations, such as datatrove's.
    pub fn given(permutations: Vec<Permutation>) -> Self {
        Permutations(permutations)
    }

    /// Returns the permutations.
    pub fn all(&self) -> &[Permutation] {
        &self.0
    }

    /// Returns the smallest value that each permutation makes of a shingle. Without shingles, all values are `u64::MAX`.
    pub fn minima(&self, shingles: &[u64]) -> Vec<u64> {
        let mut values = Vec::with_capacity(self.0.len());
        let (groups, rest) = self.0.as_chunks::<AT_ONCE>();
        groups.iter().for_each(|group| values.extend(minima(group, shingles)));
        rest.iter().for_each(|permutation| values.extend(minima(&[*permutation], shingles)));
        values
    }
}

fn minima<const N: usize>(permutations: &[Permutation; N], shingles: &[u64]) -> [u64; N] {
    let mut least = [u64::MAX; N];
    for shingle in shingles {
        for (least, permutation) in least.iter_mut().zip(permutations) {
            *least = permutation.apply(*shingle).min(*least);
        }
    }
    least
}

struct SplitMix64(u64);

impl SplitMix64 {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By an independent implementation: the first and the last of 112 with seed 1.
    const GOLDEN: [Permutation; 2] = [
        Permutation { a: 0x1221_45bd_9120_4b99, b: 0x17dd_71b4_2cb1_dd8c },
        Permutation { a: 0x133b_fb4a_e7b6_da89, b: 0x12a9_d862_1de2_c5ad },
    ];

    #[test]
    fn numbers_are_those_of_the_reference_implementation() {
        let mut numbers = SplitMix64(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821_u64,
        ];
        assert_eq!(std::array::from_fn(|_| numbers.draw()), expected);
    }

    /// If these values no longer hold, no signatures that exist can be compared with new ones.
    #[test]
    fn permutations_of_a_seed_never_change() {
        let drawn = Permutations::seeded(1, 112);
        assert_eq!(drawn.all()[0], GOLDEN[0]);
        assert_eq!(drawn.all()[111], GOLDEN[1]);
        assert_eq!(Permutations::seeded(1, 20).all(), &drawn.all()[..20]);
        assert!(drawn.all().iter().all(|Permutation { a, b }| a % 2 == 1 && *a < PRIME && *b < PRIME));
    }

    proptest! {
        #[test]
        fn values_are_remainders_by_the_prime(a in any::<u64>(), b in any::<u64>(), shingle in any::<u64>()) {
            let expected = a.wrapping_mul(shingle).wrapping_add(b) % PRIME;
            prop_assert_eq!(Permutation { a, b }.apply(shingle), expected);
        }

        #[test]
        fn remainders_are_right_around_multiples_of_the_prime(multiple in 0..=8_u64, offset in 0..20_u64) {
            let value = (multiple * PRIME).wrapping_add(offset).wrapping_sub(10);
            prop_assert_eq!(Permutation { a: 1, b: 0 }.apply(value), value % PRIME);
        }

        #[test]
        fn each_minimum_is_that_of_its_own_permutation(
            seed in any::<u64>(), count in 0..14_usize, shingles in prop::collection::vec(any::<u64>(), 0..9)
        ) {
            let permutations = Permutations::seeded(seed, count);
            let least = |permutation: &Permutation| {
                shingles.iter().map(|shingle| permutation.apply(*shingle)).min().unwrap_or(u64::MAX)
            };
            let expected: Vec<u64> = permutations.all().iter().map(least).collect();
            prop_assert_eq!(permutations.minima(&shingles), expected);
        }
    }
}
