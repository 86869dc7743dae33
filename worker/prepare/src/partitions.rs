//! Computes where the documents of all runs lie in shards: pure arithmetic over the sizes of buckets.
//!
//! A side's documents in the order of their keys are one long row of tokens, cut where a shard is full. Neighbouring buckets
//! form a *partition*, small enough to be sorted in memory. A shard is written from the partitions in which its part of the
//! row lies.

use std::ops::Range;

use crate::sides::Side;

/// Sizes of all buckets, summed over all runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// Number of tokens in each bucket.
    pub tokens: Vec<u64>,
    /// Number of documents in each bucket.
    pub documents: Vec<u64>,
}

/// Neighbouring buckets that are read and sorted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Range of buckets.
    pub buckets: Range<usize>,
    /// Range of the partition's tokens in the row of its side.
    pub tokens: Range<u64>,
    /// Number of documents.
    pub documents: u64,
}

/// The plan of one side's shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SidePlan {
    /// Side that the plan is of.
    pub side: Side,
    /// Partitions in order, without empty ones.
    pub partitions: Vec<Partition>,
    /// Number of tokens in a full shard.
    pub tokens_per_shard: u64,
}

impl Partition {
    fn memory_bytes(&self) -> u64 {
        memory_bytes(self.tokens.end - self.tokens.start, self.documents)
    }
}

/// Returns the bytes that documents take in memory while they are sorted.
fn memory_bytes(tokens: u64, documents: u64) -> u64 {
    2 * tokens + 120 * documents
}

impl SidePlan {
    /// Divides the buckets `buckets` of a side into partitions that take at most `partition_bytes` of memory, unless a single
    /// bucket takes more.
    pub fn new(side: Side, buckets: Range<usize>, sizes: &Sizes, tokens_per_shard: u64, partition_bytes: u64) -> Self {
        let mut partitions: Vec<Partition> = Vec::new();
        for bucket in buckets {
            let (tokens, documents) = (sizes.tokens[bucket], sizes.documents[bucket]);
            let before = partitions.last().map_or(0, |partition| partition.tokens.end);
            match partitions.last_mut() {
                _ if documents == 0 => {}
                Some(last) if last.memory_bytes() + memory_bytes(tokens, documents) <= partition_bytes => {
                    last.buckets.end = bucket + 1;
                    last.tokens.end += tokens;
                    last.documents += documents;
                }
                _ => partitions.push(Partition {
                    buckets: bucket..bucket + 1,
                    tokens: before..before + tokens,
                    documents,
                }),
            }
        }
        SidePlan { side, partitions, tokens_per_shard }
    }

    /// Returns the number of tokens on the side.
    pub fn tokens(&self) -> u64 {
        self.partitions.last().map_or(0, |partition| partition.tokens.end)
    }

    /// Returns the number of shards.
    pub fn shards(&self) -> u64 {
        self.tokens().div_ceil(self.tokens_per_shard)
    }

    /// Returns the part of the row that is shard `number`.
    pub fn shard(&self, number: u64) -> Range<u64> {
        let start = number * self.tokens_per_shard;
        start..self.tokens().min(start + self.tokens_per_shard)
    }

    /// Returns the partitions in which `tokens` lie.
    pub fn partitions_of(&self, tokens: &Range<u64>) -> Range<usize> {
        let first = self.partitions.partition_point(|partition| partition.tokens.end <= tokens.start);
        let end = self.partitions.partition_point(|partition| partition.tokens.start < tokens.end);
        first..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLION: u64 = 1_000_000;

    fn plan(tokens: &[u64]) -> SidePlan {
        let sizes = Sizes { tokens: tokens.to_vec(), documents: tokens.iter().map(|t| u64::from(*t > 0)).collect() };
        SidePlan::new(Side::Train, 1..tokens.len(), &sizes, 10 * MILLION, 32 << 20)
    }

    #[test]
    fn buckets_go_together_up_to_a_size_and_empty_ones_are_left_out() {
        let plan = plan(&[99, 0, 9 * MILLION, 0, 7 * MILLION, MILLION, 40 * MILLION, 0, 1]);
        let partitions: Vec<_> = plan.partitions.iter().map(|p| (p.buckets.clone(), p.tokens.clone())).collect();
        let end = 57 * MILLION;
        assert_eq!(
            partitions,
            [
                (2..5, 0..16 * MILLION),
                (5..6, 16 * MILLION..17 * MILLION),
                (6..7, 17 * MILLION..end),
                (8..9, end..end + 1)
            ]
        );
        assert_eq!(plan.partitions[0].documents, 2);
        assert_eq!((plan.tokens(), plan.shards()), (end + 1, 6));
    }

    #[test]
    fn a_shard_knows_its_partitions() {
        let plan = plan(&[0, 9 * MILLION, 9 * MILLION, 9 * MILLION]);
        let partitions = |shard| plan.partitions_of(&plan.shard(shard));
        assert_eq!((plan.shards(), plan.shard(2)), (3, 20 * MILLION..27 * MILLION));
        assert_eq!((partitions(0), partitions(1), partitions(2)), (0..2, 1..3, 2..3));
        assert_eq!(plan.partitions_of(&(9 * MILLION..9 * MILLION + 1)), 1..2);
    }

    #[test]
    fn nothing_makes_no_shard() {
        assert_eq!((plan(&[5]).shards(), plan(&[5, 0]).partitions.len()), (0, 0));
    }
}
