//! Random choices that can be repeated.

/// SplitMix64: a whole generator in three lines, equal on every machine.
pub struct Random {
    state: u64,
}

impl Random {
    /// Creates the generator of `seed`.
    pub fn new(seed: u64) -> Self {
        Random { state: seed }
    }

    /// Creates a generator that differs from run to run. Its seed is printed, and [`SEED_VARIABLE`] sets it.
    pub fn fresh() -> Self {
        let given = std::env::var(SEED_VARIABLE).ok();
        let text = given.unwrap_or_else(common::random::random_hex);
        println!("{SEED_VARIABLE}={text} makes the same random choices again");
        Self::new(u64::from_str_radix(&text, 16).expect("the seed is hexadecimal"))
    }

    /// Returns a number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state) % bound
    }

    /// Returns one of `choices`.
    pub fn choose<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}

/// Environment variable that sets the seed of [`Random::fresh`], in hexadecimal.
pub const SEED_VARIABLE: &str = "CONVOY_TEST_SEED";

/// Spreads every bit of `z` over all of the result.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
