//! Divides the global batch of a step: over ranks first, then into micro batches.

use std::ops::Range;

use crate::topology::{Rank, WorldSize};

/// Division of a global batch, which every rank computes identically.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPlan {
    /// Number of sequences per step, over all ranks.
    pub global_sequences: u64,
    /// Largest number of sequences per forward pass on one rank.
    pub micro_sequences: u64,
    /// Number of tokens per sequence, T.
    pub sequence_tokens: u64,
}

impl BatchPlan {
    /// Returns the number of tokens that one step consumes over all ranks.
    pub fn tokens_per_step(&self) -> u64 {
        self.global_sequences * self.sequence_tokens
    }

    /// Returns the sequences of a step that belong to `rank`. If there are more ranks than sequences, some ranks have none.
    pub fn share(&self, rank: Rank, world: WorldSize) -> Range<u64> {
        world.share(rank, self.global_sequences)
    }

    /// Returns the micro batches of `rank` in the step that starts after `consumed` sequences.
    ///
    /// Each range counts sequences in the order of the token stream. Ranks may have different numbers of micro batches, the
    /// last micro batch may be smaller, and if there are more ranks than sequences some ranks have none. Losses and
    /// gradients are sums scaled by 1/(G T), so no number needs to divide another.
    pub fn micro_batches(
        &self,
        consumed: u64,
        rank: Rank,
        world: WorldSize,
    ) -> impl Iterator<Item = Range<u64>> + use<> {
        let share = self.share(rank, world);
        let micro = self.micro_sequences;
        (share.start..share.end)
            .step_by(micro as usize)
            .map(move |start| consumed + start..consumed + (start + micro).min(share.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequences(plan: BatchPlan, consumed: u64, world: u32) -> Vec<u64> {
        let world = WorldSize::new(world).unwrap();
        world.ranks().flat_map(|r| plan.micro_batches(consumed, r, world)).flatten().collect()
    }

    #[test]
    fn every_world_size_consumes_the_same_sequences_in_order() {
        let plan = BatchPlan { global_sequences: 10, micro_sequences: 3, sequence_tokens: 8 };
        for world in [1, 2, 3, 4, 7, 10, 13] {
            assert_eq!(sequences(plan, 20, world), (20..30).collect::<Vec<_>>());
        }
    }

    /// Rank 0 is the first rank without sequences.
    #[test]
    fn of_more_ranks_than_sequences_some_have_none() {
        let plan = |global_sequences| BatchPlan { global_sequences, micro_sequences: 1, sequence_tokens: 8 };
        let counts = |sequences: u64, world: u32| {
            let world = WorldSize::new(world).unwrap();
            world.ranks().map(|rank| plan(sequences).micro_batches(0, rank, world).count()).collect::<Vec<_>>()
        };
        assert_eq!(counts(1, 2), [0, 1]);
        assert_eq!(counts(2, 3), [0, 1, 1]);
        assert_eq!(counts(2, 5), [0, 0, 1, 0, 1]);
    }

    #[test]
    fn micro_batches_are_full_but_the_last() {
        let plan = BatchPlan { global_sequences: 10, micro_sequences: 4, sequence_tokens: 8 };
        let one: Vec<_> = plan.micro_batches(0, Rank(0), WorldSize::ONE).collect();
        assert_eq!(one, [0..4, 4..8, 8..10]);
        assert_eq!(plan.tokens_per_step(), 80);
    }
}
