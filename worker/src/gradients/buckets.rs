//! Division of the flat layout into buckets, which are exchanged one by one, and of each bucket into a part for every
//! rank.

use std::ops::Range;

use common::topology::{Rank, WorldSize};

/// Alignment of a part's start, in elements, which suits vector units and copies.
const ALIGNMENT: usize = 64;

/// The buckets of a flat layout over the ranks of a world.
///
/// A bucket may begin and end in the middle of a parameter. All buckets have equal lengths, except the one at the
/// start of the layout. Every length is a multiple of the number of ranks, so a bucket's parts are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets {
    /// Ranges from the end of the layout to its start; [`ExchangeOrder`](super::ExchangeOrder) says when each begins.
    ranges: Vec<Range<usize>>,
    world: usize,
}

impl Buckets {
    /// Returns the number that the length of the flat layout must be a multiple of.
    pub fn multiple(world: WorldSize) -> usize {
        world.get() as usize * ALIGNMENT
    }

    /// Cuts `elements`, a multiple of [`multiple`](Self::multiple), into buckets of about `bucket_elements`.
    pub fn new(elements: usize, bucket_elements: usize, world: WorldSize) -> Self {
        let multiple = Self::multiple(world);
        assert!(elements.is_multiple_of(multiple), "{elements} elements cannot be divided over the ranks");
        let length = bucket_elements.next_multiple_of(multiple);
        let mut ranges = Vec::with_capacity(elements.div_ceil(length));
        let mut end = elements;
        while end > 0 {
            let start = end.saturating_sub(length);
            ranges.push(start..end);
            end = start;
        }
        Buckets { ranges, world: world.get() as usize }
    }

    /// Returns all buckets, from the end of the layout to its start.
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    /// Returns part `rank` of a bucket.
    pub fn part(&self, bucket: &Range<usize>, rank: Rank) -> Range<usize> {
        let length = bucket.len() / self.world;
        let start = bucket.start + rank.index() * length;
        start..start + length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_everything_from_the_end_and_their_parts_are_equal() {
        for world in [1, 2, 3, 8, 13].map(|n| WorldSize::new(n).unwrap()) {
            for (elements, bucket) in [(1, 1), (1000, 64), (1_000_003, 4096), (5000, 1 << 20)] {
                let elements = usize::next_multiple_of(elements, Buckets::multiple(world));
                let buckets = Buckets::new(elements, bucket, world);
                let mut end = elements;
                for range in buckets.ranges() {
                    assert_eq!(range.end, end);
                    end = range.start;
                    let mut at = range.start;
                    for part in world.ranks().map(|rank| buckets.part(range, rank)) {
                        assert_eq!((part.start, part.len() * world.get() as usize), (at, range.len()));
                        at = part.end;
                    }
                    assert_eq!(at, range.end);
                }
                assert_eq!(end, 0);
            }
        }
    }
}
