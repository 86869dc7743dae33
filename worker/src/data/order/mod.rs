//! The order of training sequences: a function of the seed, the global batch, and the number of the sequence.
//!
//! - [`mixture`]: the data set that the sequence is from.
//! - [`bands`]: the sequence's place in the global batch, and the *band* of that place.
//! - [`permutation`]: the shuffles, in constant time and memory.
//!
//! A data set is cut into *extents* of neighbouring sequences, which are cheap to read together. Every epoch permutes
//! the extents of a data set to a *line*. The places of the global batch are divided into [`BANDS`] bands of
//! neighbours, and the line into as many pieces, each as long as what its band consumes in the epoch. A band consumes
//! its piece from front to back, apart from a shuffle within *windows*. A rank, which has neighbouring places of
//! every global batch, therefore reads neighbouring parts of the line with any number of ranks, and two sequences of
//! one extent meet in a global batch only within a band. Windows of different bands begin at different steps, and the
//! first windows of an epoch are small and grow, so that no step needs much new data: the very first step needs a
//! block or two for each band, and not a whole extent.
//!
//! The order is part of the format of a run. A change of anything here must increase [`VERSION`], and every existing
//! run is then refused, since it would go on with other sequences.

mod bands;
mod mixture;
pub mod permutation;

use std::sync::{PoisonError, RwLock};

use bands::Bands;
use mixture::Mixture;
use permutation::{Permutation, derive};

/// Version of the order, as checkpoints store it. In version 1, all windows except a band's first were full-grown.
pub const VERSION: u32 = 2;

/// Number of bands: parts of the global batch whose sequences are read together.
pub const BANDS: u64 = 64;
/// Size of an extent: 16 blocks, so that the one more block that its ends touch matters little. In a small data set
/// every sequence is an extent.
const EXTENT_BYTES: u64 = 16 << 20;
/// Number of parts of an extent, blocks, that the first windows grow by.
const EXTENT_BLOCKS: u64 = 16;
/// Size up to which a data set is small: reading all of it is cheap.
const SMALL_BYTES: u64 = 64 << 20;

/// Size and weight of a data set, as the order needs them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SetSize {
    /// Number of sequences.
    pub sequences: u64,
    /// Bytes of one sequence.
    pub sequence_bytes: u64,
    /// Weight: the rate at which its sequences are consumed, relative to the other data sets.
    pub weight: f64,
}

/// Place of a sequence in a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Index of the data set, in the order of the config.
    pub set: usize,
    /// Position in that data set.
    pub position: u64,
}

/// Order in which the sequences of some data sets are consumed.
#[derive(Debug)]
pub struct Order {
    seed: u64,
    bands: Bands,
    mixture: Mixture,
    sets: Vec<Extents>,
    /// Epochs of each data set that were used last, an even and an odd one: reading ahead may already be in the next.
    epochs: Vec<[RwLock<Option<Epoch>>; 2]>,
}

/// State that the sequences of one epoch of a data set share.
#[derive(Debug, Clone)]
struct Epoch {
    number: u64,
    key: u64,
    line: Line,
    /// Number of the data set's sequences consumed before the epoch, in places before each band.
    before: Vec<u64>,
    pieces: Vec<u64>,
}

/// Extents of a data set, in the order of an epoch.
#[derive(Debug, Clone, Copy)]
struct Line {
    permutation: Permutation,
    extent: u64,
    /// Place at which the last extent, which may be short, ends; later extents come `missing` places earlier.
    end_of_last: u64,
    missing: u64,
}

/// Division of a data set into extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extents {
    sequences: u64,
    /// Number of sequences in an extent; the last one may have fewer.
    extent: u64,
    /// Number of sequences in a full-grown window: an extent of [`EXTENT_BYTES`].
    window: u64,
}

/// Part of a band's piece that is shuffled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    number: u64,
    start: u64,
    end: u64,
}

impl Order {
    /// Creates the order of `sets`, each of at least one sequence, in global batches of `global_sequences` under
    /// `run.seed`.
    pub fn new(seed: u64, sets: &[SetSize], global_sequences: u64) -> Self {
        let bands = Bands::new(global_sequences, BANDS);
        let weights: Vec<f64> = sets.iter().map(|set| set.weight).collect();
        let mixture = Mixture::new(&weights, bands);
        let epochs = sets.iter().map(|_| Default::default()).collect();
        Order { seed, bands, mixture, sets: sets.iter().map(Extents::of).collect(), epochs }
    }

    /// Returns the place of training sequence `number`, which counts from 0 over the whole run.
    pub fn place(&self, number: u64) -> Place {
        let (set, count) = self.mixture.member(number);
        let epoch = count / self.sets[set].sequences;
        let held = &self.epochs[set][(epoch % 2) as usize];
        if let Some(epoch) = held.read().unwrap_or_else(PoisonError::into_inner).as_ref().filter(|e| e.number == epoch)
        {
            return self.place_in(epoch, set, number);
        }
        let epoch = self.epoch(set, epoch);
        let place = self.place_in(&epoch, set, number);
        *held.write().unwrap_or_else(PoisonError::into_inner) = Some(epoch);
        place
    }

    fn place_in(&self, epoch: &Epoch, set: usize, number: u64) -> Place {
        let band = self.bands.of(number);
        let [low, high] = [band as usize, band as usize + 1];
        // Number of sequences consumed so far in this epoch, in places before the band.
        let consumed = |band: usize| self.mixture.below(set, number, band as u64) - epoch.before[band];
        let (index, piece) = (consumed(high) - consumed(low), epoch.pieces[high] - epoch.pieces[low]);
        let shuffled = self.sets[set].in_window(derive(epoch.key, band + 1), band, piece, index);
        Place { set, position: epoch.line.position(epoch.pieces[low] + shuffled) }
    }

    fn epoch(&self, set: usize, number: u64) -> Epoch {
        let extents = &self.sets[set];
        let [first, end] = [number, number + 1].map(|n| self.mixture.number_of(set, n * extents.sequences));
        let below = |until| (0..=BANDS).map(move |band| self.mixture.below(set, until, band));
        let before: Vec<u64> = below(first).collect();
        let pieces = below(end).zip(&before).map(|(end, before)| end - before).collect();
        let key = derive(derive(self.seed, set as u64), number);
        Epoch { number, key, line: Line::new(key, extents), before, pieces }
    }
}

impl Line {
    fn new(key: u64, &Extents { sequences, extent, .. }: &Extents) -> Self {
        let extents = sequences.div_ceil(extent);
        let permutation = Permutation::new(key, extents);
        let missing = extents * extent - sequences;
        let end_of_last = (permutation.inverse(extents - 1) + 1) * extent - missing;
        Line { permutation, extent, end_of_last, missing }
    }

    /// Returns the position in the data set of the sequence at `place` on the line.
    fn position(&self, place: u64) -> u64 {
        let place = if place < self.end_of_last { place } else { place + self.missing };
        self.permutation.forward(place / self.extent) * self.extent + place % self.extent
    }
}

impl Extents {
    fn of(set: &SetSize) -> Self {
        let is_small = set.sequences.saturating_mul(set.sequence_bytes) <= SMALL_BYTES;
        let extent = if is_small { 1 } else { EXTENT_BYTES.div_ceil(set.sequence_bytes) };
        let window = EXTENT_BYTES.div_ceil(set.sequence_bytes);
        Extents { sequences: set.sequences, extent, window }
    }

    /// Returns where the sequence at `index` of a piece with `piece` sequences goes within its window.
    fn in_window(&self, key: u64, band: u64, piece: u64, index: u64) -> u64 {
        let window = self.window_of(band, index);
        let length = window.end.min(piece) - window.start;
        window.start + Permutation::new(derive(key, window.number), length).forward(index - window.start)
    }

    /// Returns the window of `index` in the piece of `band`. The first window is a part of a block that differs from
    /// band to band; the next ones are 1, 2, 4 and 8 blocks, and all others an extent.
    fn window_of(&self, band: u64, index: u64) -> Window {
        let block = self.window.div_ceil(EXTENT_BLOCKS);
        let first = (block * (band + 1) / BANDS).max(1);
        let Some(after) = index.checked_sub(first) else { return Window { number: 0, start: 0, end: first } };
        let grown = (EXTENT_BLOCKS - 1) * block;
        let (number, start, length) = match after.checked_sub(grown) {
            // 2^k - 1 blocks come before the window of 2^k blocks.
            None => {
                let blocks = 1_u64 << (after / block + 1).ilog2();
                (u64::from(blocks.ilog2()), (blocks - 1) * block, blocks * block)
            }
            Some(after) => {
                let number = after / self.window;
                (u64::from(EXTENT_BLOCKS.ilog2()) + number, grown + number * self.window, self.window)
            }
        };
        Window { number: 1 + number, start: first + start, end: first + start + length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    const MIB: u64 = 1 << 20;

    fn set(sequences: u64, sequence_bytes: u64, weight: f64) -> SetSize {
        SetSize { sequences, sequence_bytes, weight }
    }

    fn positions(order: &Order, numbers: std::ops::Range<u64>) -> Vec<u64> {
        numbers.map(|number| order.place(number).position).collect()
    }

    #[test]
    fn every_epoch_consumes_each_sequence_once() {
        // Sizes that no batch divides; extents of 1, 4 and 256 sequences, the last one short.
        for (sequences, bytes) in [(1, 10), (27, 10), (1001, 2048), (41, 2 * MIB), (5003, MIB / 32)] {
            for batch in [1, 2, 10, 63, 64, 100, 512] {
                let order = Order::new(42, &[set(sequences, bytes, 1.0)], batch);
                for epoch in [0, 1, 5] {
                    let mut epoch = positions(&order, epoch * sequences..(epoch + 1) * sequences);
                    epoch.sort_unstable();
                    assert!(epoch.into_iter().eq(0..sequences), "{sequences} of {bytes} bytes, batch {batch}");
                }
            }
        }
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let order = |seed| Order::new(seed, &[set(3000, 2048, 1.0)], 96);
        let orders = [0, 1, 2].map(|epoch| positions(&order(1), epoch * 3000..(epoch + 1) * 3000));
        let orders = [&orders[..], &[positions(&order(2), 0..3000)]].concat();
        for (i, a) in orders.iter().enumerate() {
            for b in &orders[..i] {
                let same = a.iter().zip(b).filter(|(x, y)| x == y).count();
                assert!(same < 12, "{same} of 3000 positions agree; chance gives one");
            }
        }
    }

    #[test]
    fn small_sets_are_shuffled_as_a_whole() {
        let order = Order::new(5, &[set(10_000, 2048, 1.0)], 8);
        let positions = positions(&order, 0..10_000);
        let near = positions.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 10).count();
        assert!(near < 60, "{near} of 9999 neighbours lie within 10 of each other; chance gives about 19");
    }

    #[test]
    fn weights_decide_how_much_of_each_set_is_consumed_and_every_set_has_its_epochs() {
        let sets = [set(1000, 2048, 3.0), set(500, MIB / 2, 1.0), set(7, 2048, 0.5)];
        let order = Order::new(9, &sets, 100);
        let mut of_set: HashMap<usize, Vec<u64>> = HashMap::new();
        for number in 0..9000 {
            let place = order.place(number);
            of_set.entry(place.set).or_default().push(place.position);
        }
        assert_eq!([0, 1, 2].map(|set| of_set[&set].len().abs_diff([6000, 2000, 1000][set]) <= 2), [true; 3]);
        for (set, consumed) in of_set {
            let sequences = sets[set].sequences as usize;
            for epoch in consumed.chunks_exact(sequences) {
                assert_eq!(epoch.iter().collect::<HashSet<_>>().len(), sequences, "set {set}");
            }
        }
    }

    /// Returns the blocks of 1 MiB that a sequence of 1,024 tokens lies in, in one shard, after its header.
    fn blocks(position: u64) -> std::ops::RangeInclusive<u64> {
        let byte = 1024 + position * 2048;
        byte / MIB..=(byte + 2049) / MIB
    }

    #[test]
    fn nodes_read_little_that_others_read_too() {
        let (sequences, batch) = (1 << 19, 512);
        let order = Order::new(1, &[set(sequences, 2048, 1.0)], batch);
        let all = positions(&order, 0..sequences);
        for ranks in [1, 2, 8, 48, 64] {
            let mut read: HashSet<(u64, u64)> = HashSet::new();
            for (number, position) in (0..sequences).zip(&all) {
                let slot = number % batch;
                let rank = (0..ranks).find(|rank| slot < (rank + 1) * batch / ranks).unwrap();
                // Eight ranks form a node.
                read.extend(blocks(*position).map(|block| (rank / 8, block)));
            }
            let ratio = read.len() as f64 / (sequences / 512) as f64;
            println!("{ranks} ranks read {ratio:.3} times what they consume");
            assert!(ratio <= 1.2, "{ranks} ranks read {ratio} times what they consume");
        }
    }

    #[test]
    fn windows_grow_and_follow_each_other() {
        let extents = Extents::of(&set(1 << 30, 2048, 1.0));
        for band in [0, 1, 63] {
            let (mut index, mut lengths) = (0, Vec::new());
            while lengths.len() < 8 {
                let window = extents.window_of(band, index);
                assert_eq!((window.number, window.start), (lengths.len() as u64, index));
                assert_eq!(extents.window_of(band, window.end - 1), window);
                lengths.push((window.end - window.start) as f64 / 512.0);
                index = window.end;
            }
            assert_eq!(lengths, [(band + 1) as f64 / 64.0, 1.0, 2.0, 4.0, 8.0, 16.0, 16.0, 16.0]);
        }
    }

    #[test]
    fn a_run_begins_after_little_reading() {
        let (sequences, batch) = (1 << 19, 512);
        let order = Order::new(1, &[set(sequences, 2048, 1.0)], batch);
        let mut read = HashSet::new();
        let mut new_blocks = |step: u64| {
            let before = read.len();
            read.extend(positions(&order, step * batch..(step + 1) * batch).into_iter().flat_map(blocks));
            read.len() - before
        };
        let of_steps: Vec<_> = (0..400).map(&mut new_blocks).collect();
        println!("blocks that are new to a step: {} at the first, then {:?}", of_steps[0], &of_steps[1..]);
        // A band's first sequences lie in one block or two.
        assert!(of_steps[0] <= 2 * BANDS as usize + 16, "{} at once", of_steps[0]);
        let most = of_steps[1..].iter().max().unwrap();
        assert!(*most <= 24, "{most} at once; a step consumes one");
    }

    /// Counts the pairs of sequences in a global batch that are from one extent, on average, and the blocks that are
    /// open at once.
    #[test]
    fn extents_meet_no_more_often_than_in_a_shuffle_of_as_many_bytes() {
        let (sequences, batch, extent) = (1_u64 << 19, 512, EXTENT_BYTES / 2048);
        let order = Order::new(1, &[set(sequences, 2048, 1.0)], batch);
        let mut pairs = 0_u64;
        for step in 0..sequences / batch {
            let mut of_extent: HashMap<u64, u64> = HashMap::new();
            for position in positions(&order, step * batch..(step + 1) * batch) {
                *of_extent.entry(position / extent).or_default() += 1;
            }
            pairs += of_extent.values().map(|count| count * (count - 1) / 2).sum::<u64>();
        }
        let mean = pairs as f64 / (sequences / batch) as f64;
        // All bands together have 64 windows of an extent open. A shuffle of all these bytes would draw every pair
        // from one of 64 extents: 512 x 511 / 2 / 64 = 2044.
        println!("{mean:.0} pairs of a global batch are from one extent");
        assert!(mean <= 2044.0, "{mean}");
    }

    /// The places were made by an independent implementation. If they no longer hold, no existing run can be resumed.
    #[test]
    fn golden_places() {
        let golden: Vec<serde_json::Value> =
            serde_json::from_str(include_str!("../../../../tests/golden/order.json")).unwrap();
        for case in golden {
            let number = |value: &serde_json::Value| value.as_u64().unwrap();
            let of = |value: &serde_json::Value| {
                set(number(&value["sequences"]), number(&value["sequence_bytes"]), value["weight"].as_f64().unwrap())
            };
            let sets: Vec<_> = case["sets"].as_array().unwrap().iter().map(of).collect();
            let order = Order::new(number(&case["seed"]), &sets, number(&case["global_sequences"]));
            for place in case["places"].as_array().unwrap() {
                let expected = Place { set: number(&place[1]) as usize, position: number(&place[2]) };
                assert_eq!(order.place(number(&place[0])), expected, "{place} of {sets:?}");
            }
        }
    }

    #[test]
    fn late_numbers_of_huge_sets_work() {
        let order = Order::new(u64::MAX, &[set(1 << 40, 2048, 1.0)], 512);
        assert!(order.place(1 << 45).position < 1 << 40);
    }
}
