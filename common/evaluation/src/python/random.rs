//! Python's `random.Random` with an integer as seed, as far as it draws examples: MT19937 and `sample`.
//!
//! Others draw their examples by it, and a sceptic can draw ours with three lines of Python.

const STATE: usize = 624;
const SHIFT: usize = 397;

/// A generator with Python's sequence.
#[derive(Debug, Clone)]
pub struct PythonRandom {
    state: [u32; STATE],
    next: usize,
}

impl PythonRandom {
    /// `random.Random(seed)`.
    pub fn new(seed: u64) -> Self {
        // The digits of the seed in base 2^32, the lowest first.
        let key: &[u32] = match [seed as u32, (seed >> 32) as u32] {
            [low, 0] => &[low],
            both => &both.clone(),
        };
        let mut state = [0; STATE];
        state[0] = 19_650_218_u32;
        for i in 1..STATE {
            state[i] = mixed(state[i - 1]).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        let mut i = 1;
        for step in 0..STATE.max(key.len()) {
            let digit = step % key.len();
            state[i] = (state[i] ^ mixed(state[i - 1]).wrapping_mul(1_664_525))
                .wrapping_add(key[digit])
                .wrapping_add(digit as u32);
            advance(&mut state, &mut i);
        }
        for _ in 0..STATE - 1 {
            state[i] = (state[i] ^ mixed(state[i - 1]).wrapping_mul(1_566_083_941)).wrapping_sub(i as u32);
            advance(&mut state, &mut i);
        }
        state[0] = 0x8000_0000;
        PythonRandom { state, next: STATE }
    }

    /// `getrandbits(32)`.
    fn word(&mut self) -> u32 {
        if self.next == STATE {
            for i in 0..STATE {
                let joined = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % STATE] & 0x7fff_ffff);
                let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + SHIFT) % STATE] ^ (joined >> 1) ^ odd;
            }
            self.next = 0;
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// `_randbelow(limit)`, for a limit from 1 to 2^32 - 1.
    fn below(&mut self, limit: u32) -> u32 {
        let bits = u32::BITS - limit.leading_zeros();
        loop {
            let drawn = self.word() >> (u32::BITS - bits);
            if drawn < limit {
                return drawn;
            }
        }
    }

    /// `sample(range(population), count)`.
    ///
    /// # Panics
    /// Panics if more are drawn than there are.
    pub fn sample(&mut self, population: u32, count: u32) -> Vec<u32> {
        assert!(count <= population, "{count} of {population}");
        // Python takes the cheaper of two ways, which draw differently.
        let mut set_size = 21;
        if count > 5 {
            set_size += 4_u64.pow(((f64::from(count) * 3.0).ln() / 4_f64.ln()).ceil() as u32);
        }
        if u64::from(population) <= set_size {
            let mut pool: Vec<u32> = (0..population).collect();
            return (0..count)
                .map(|drawn| {
                    let last = population - drawn - 1;
                    let at = self.below(last + 1) as usize;
                    let chosen = pool[at];
                    pool[at] = pool[last as usize];
                    chosen
                })
                .collect();
        }
        let mut chosen = Vec::new();
        while chosen.len() < count as usize {
            let drawn = self.below(population);
            if !chosen.contains(&drawn) {
                chosen.push(drawn);
            }
        }
        chosen
    }
}

fn mixed(word: u32) -> u32 {
    word ^ (word >> 30)
}

/// Goes to the next place, and at the end to the second, behind a copy of the last.
fn advance(state: &mut [u32; STATE], i: &mut usize) {
    *i += 1;
    if *i == STATE {
        state[0] = state[STATE - 1];
        *i = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_pythons() {
        // random.Random(SEED).sample(range(POPULATION), COUNT), Python 3.11.
        let cases: [(u64, u32, u32, &[u32]); 9] = [
            (0, 10, 3, &[6, 9, 0]),
            (1234, 5152, 5, &[3610, 957, 61, 742, 4769]),
            (1235, 22, 21, &[13, 17, 18, 15, 12, 4, 11, 19, 10, 20, 6, 3, 9, 1, 14, 7, 2, 21, 5, 16, 8]),
            (1, 21, 5, &[4, 18, 2, 8, 3]),
            (7, 86, 6, &[41, 19, 50, 83, 6, 9]),
            (7, 85, 6, &[41, 19, 50, 6, 9, 68]),
            (1099511627779, 1000, 8, &[225, 62, 562, 853, 96, 579, 311, 924]),
            (9, 1, 1, &[0]),
            (5, 3, 0, &[]),
        ];
        for (seed, population, count, expected) in cases {
            assert_eq!(PythonRandom::new(seed).sample(population, count), expected);
        }
    }
}
