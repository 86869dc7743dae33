//! Position of a process among its peers.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// Index of a worker process over all nodes, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rank(pub u32);

impl Rank {
    /// The rank that acts for all: it reads the config, claims the attempt and commits checkpoints.
    pub const ZERO: Rank = Rank(0);

    /// Returns the rank as an index into per-rank lists.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns whether this is rank 0.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of worker processes, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorldSize(NonZeroU32);

impl WorldSize {
    /// A world of one process.
    pub const ONE: WorldSize = WorldSize(NonZeroU32::MIN);

    /// Returns a world of `size` processes, or `None` for 0.
    pub fn new(size: u32) -> Option<Self> {
        NonZeroU32::new(size).map(WorldSize)
    }

    /// Returns the number of processes.
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// Returns all ranks of this world, in order.
    pub fn ranks(self) -> impl Iterator<Item = Rank> {
        (0..self.get()).map(Rank)
    }

    /// Returns rank `rank`'s share of `total` items. Shares are contiguous, in rank order, and differ in size by at most one.
    ///
    /// Rank r of W gets `[r*total/W, (r+1)*total/W)`, which needs no divisibility.
    pub fn share(self, rank: Rank, total: u64) -> std::ops::Range<u64> {
        let at = |r: u32| (u128::from(r) * u128::from(total) / u128::from(self.get())) as u64;
        at(rank.0)..at(rank.0 + 1)
    }
}

impl fmt::Display for WorldSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_everything_once_and_differ_by_at_most_one() {
        for world in 1..=9 {
            let world = WorldSize::new(world).unwrap();
            for total in [0, 1, 2, 7, 8, 9, 100, u64::MAX] {
                let mut next = 0;
                for rank in world.ranks() {
                    let share = world.share(rank, total);
                    assert_eq!(share.start, next);
                    let size = share.end - share.start;
                    let even = total / u64::from(world.get());
                    assert!(size == even || size == even + 1, "{size} of {total} over {world}");
                    next = share.end;
                }
                assert_eq!(next, total);
            }
        }
    }
}
