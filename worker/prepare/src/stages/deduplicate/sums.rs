//! What is told of clusters: how large they are, and the largest of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Number of clusters that are named, the largest.
pub const LARGEST_MAX: usize = 10;

/// Sums over clusters of at least two documents, of which at least one is new.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterSums {
    /// Number of clusters.
    pub clusters: u64,
    /// Number of documents in them, with those of earlier deduplications.
    pub documents: u64,
    /// Number of clusters by their size: under 2 those of 2 and 3 documents, under 4 those of 4 to 7, and so on.
    pub sizes: BTreeMap<u64, u64>,
    /// The largest clusters, the largest first.
    pub largest: Vec<LargeCluster>,
}

/// A cluster that is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeCluster {
    /// Number of its documents.
    pub documents: u64,
    /// Id of the document that stays, 32 hex digits.
    pub kept: String,
    /// Address of that document.
    pub url: Option<String>,
    /// Beginning of its text; empty for one of an earlier deduplication.
    pub start: String,
}

impl ClusterSums {
    /// Counts a cluster that has this number of documents.
    pub fn count(&mut self, documents: u64) {
        self.clusters += 1;
        self.documents += documents;
        *self.sizes.entry(1 << documents.max(1).ilog2()).or_default() += 1;
    }

    /// Adds the sums of `other`, without the clusters that it names.
    pub fn add(&mut self, other: &ClusterSums) {
        self.clusters += other.clusters;
        self.documents += other.documents;
        for (size, clusters) in &other.sizes {
            *self.sizes.entry(*size).or_default() += clusters;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_counted_by_powers_of_two() {
        let mut sums = ClusterSums::default();
        [2, 3, 4, 7, 8].into_iter().for_each(|documents| sums.count(documents));
        let mut twice = sums.clone();
        twice.add(&sums);
        assert_eq!(twice.sizes, BTreeMap::from([(2, 4), (4, 4), (8, 2)]));
        assert_eq!((twice.clusters, twice.documents), (10, 48));
    }
}
