//! The mixture of data sets: which data set each training sequence is from, by weight, and how many of that data set
//! came before.
//!
//! The data sets take turns in a pattern that repeats after some global batches, so every question is answered by a
//! division and a lookup in a table.

use super::bands::Bands;

/// Least number of sequences in the pattern, whose reciprocal is the precision with which weights are met.
const PATTERN_SEQUENCES: u64 = 4096;

/// Pattern in which the data sets take turns.
#[derive(Debug, Clone)]
pub struct Mixture {
    bands: Bands,
    /// Number of global batches after which the pattern repeats.
    rows: u64,
    /// Data set of each sequence of the pattern.
    pattern: Vec<u16>,
    counts: Vec<Counts>,
}

/// Counts of one data set's sequences.
#[derive(Debug, Clone)]
struct Counts {
    /// Number before each sequence of the pattern, and in all of it.
    before: Vec<u32>,
    /// Number in places before each band, in the rows before each row, and in all rows: `[band][row]`.
    before_band: Vec<Vec<u32>>,
}

impl Mixture {
    /// Creates a mixture by `weights`, which are above 0.
    pub fn new(weights: &[f64], bands: Bands) -> Self {
        let rows = if weights.len() == 1 { 1 } else { PATTERN_SEQUENCES.div_ceil(bands.places) };
        let pattern = pattern(weights, (rows * bands.places) as usize);
        let counts = (0..weights.len()).map(|set| Counts::of(set as u16, &pattern, rows, bands)).collect();
        Mixture { bands, rows, pattern, counts }
    }

    fn period(&self) -> u64 {
        self.pattern.len() as u64
    }

    /// Returns the data set of sequence `number`, and how many sequences of that data set came before.
    pub fn member(&self, number: u64) -> (usize, u64) {
        let set = usize::from(self.pattern[(number % self.period()) as usize]);
        (set, self.counts[set].all_before(number, self.period()))
    }

    /// Returns the number of the sequence that has `count` sequences of data set `set` before it and belongs to
    /// `set`.
    pub fn number_of(&self, set: usize, count: u64) -> u64 {
        let counts = &self.counts[set];
        let (periods, rest) = (count / counts.in_period(), count % counts.in_period());
        // The last sequence with no more than that before it is the one wanted.
        let within = counts.before.partition_point(|before| u64::from(*before) <= rest) - 1;
        periods * self.period() + within as u64
    }

    /// Returns how many sequences of data set `set` before `number` have a place before `band`.
    pub fn below(&self, set: usize, number: u64, band: u64) -> u64 {
        let counts = &self.counts[set];
        let (periods, within) = (number / self.period(), number % self.period());
        let (row, place) = (within / self.bands.places, within % self.bands.places);
        let of_band = &counts.before_band[band as usize];
        let row_start = (row * self.bands.places) as usize;
        let in_row = counts.before[row_start + place.min(self.bands.start(band)) as usize] - counts.before[row_start];
        periods * u64::from(of_band[self.rows as usize]) + u64::from(of_band[row as usize] + in_row)
    }
}

impl Counts {
    fn of(set: u16, pattern: &[u16], rows: u64, bands: Bands) -> Self {
        let mut before = vec![0];
        for member in pattern {
            before.push(before[before.len() - 1] + u32::from(*member == set));
        }
        let of_band = |band: u64| {
            let mut of_rows = vec![0];
            for row in 0..rows {
                let start = (row * bands.places) as usize;
                let in_row = before[start + bands.start(band) as usize] - before[start];
                of_rows.push(of_rows[of_rows.len() - 1] + in_row);
            }
            of_rows
        };
        let before_band = (0..=bands.count).map(of_band).collect();
        Counts { before, before_band }
    }

    fn in_period(&self) -> u64 {
        u64::from(self.before[self.before.len() - 1])
    }

    fn all_before(&self, number: u64, period: u64) -> u64 {
        number / period * self.in_period() + u64::from(self.before[(number % period) as usize])
    }
}

/// Makes the pattern: each turn goes to the data set that is furthest behind its weight.
fn pattern(weights: &[f64], length: usize) -> Vec<u16> {
    let sum: f64 = weights.iter().sum();
    let mut had = vec![0.0; weights.len()];
    let mut pattern = Vec::with_capacity(length);
    for turn in 1..=length {
        let behind = |set: &usize| weights[*set] / sum * turn as f64 - had[*set];
        // The first of equals; `max_by` would take the last.
        let next = (0..weights.len()).rev().max_by(|a, b| behind(a).total_cmp(&behind(b))).unwrap_or(0);
        had[next] += 1.0;
        pattern.push(next as u16);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_what_counting_says() {
        for (weights, places) in [(&[1.0][..], 5), (&[0.7, 0.3], 10), (&[5.0, 1.0, 1.5], 3000)] {
            let bands = Bands::new(places, 4);
            let mixture = Mixture::new(weights, bands);
            let mut counts = vec![0; weights.len()];
            let mut below = vec![[0_u64; 5]; weights.len()];
            for number in 0..3 * mixture.period() + 7 {
                for (set, below) in below.iter().enumerate() {
                    for (band, below) in (0..).zip(below) {
                        assert_eq!(mixture.below(set, number, band), *below, "{number}");
                    }
                }
                let (set, count) = mixture.member(number);
                assert_eq!(count, counts[set]);
                assert_eq!(mixture.number_of(set, count), number);
                counts[set] += 1;
                let band = bands.of(number);
                (band as usize + 1..=4).for_each(|band| below[set][band] += 1);
            }
            for (weight, count) in weights.iter().zip(&counts) {
                let share = *count as f64 / counts.iter().sum::<u64>() as f64;
                assert!((share - weight / weights.iter().sum::<f64>()).abs() < 1e-3, "{share} of {weights:?}");
            }
        }
    }

    #[test]
    fn turns_are_even() {
        assert_eq!(pattern(&[2.0, 1.0], 6), [0, 1, 0, 0, 1, 0]);
        assert_eq!(pattern(&[1.0, 1.0], 4), [0, 1, 0, 1]);
    }
}
