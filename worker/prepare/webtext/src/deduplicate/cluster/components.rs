//! Connected components of edges that do not fit into memory, over one or many ranks.
//!
//! The algorithm alternates two steps, large-star and small-star (Kiveris et al., Connected Components in MapReduce and Beyond, 2014).
//! Both read the edges of one document after the other. Let m be the smallest of a document and its neighbours.
//!
//! - **Large-star** connects the document's larger neighbours with m.
//! - **Small-star** connects the document and its smaller neighbours with m.
//!
//! A step keeps what is connected, and never makes more edges than it reads. When a round of both changes nothing, every document of a
//! component has one edge, to the smallest. So the result depends neither on the order of edges nor on how they are divided. For n
//! documents in one component, there are O(log^2 n) rounds, as is proven there. A chain takes about log2 n: 21 rounds for 1,000,000
//! documents. A component in which each document has an edge to the smallest takes one. A round sorts all edges twice, once
//! in both directions.

use crate::deduplicate::merge::Merge;
use crate::deduplicate::record::{Edge, Membership};
use crate::deduplicate::sort::{Runs, Sorter};

/// Finds connected components.
///
/// With several ranks, each has one of its own, adds any part of the edges, and gets the components of the documents that belong to it
/// by [`Runs`]. All ranks call [`find`](Self::find).
pub struct Components<R> {
    edges: Sorter<Edge, R>,
    rounds: u32,
}

impl<R: Runs<Edge>> Components<R> {
    /// Begins without edges. At most `edges_max` are in memory, in one direction each.
    pub fn new(runs: R, edges_max: usize) -> Self {
        Components { edges: Sorter::new(runs, edges_max), rounds: 0 }
    }

    /// Connects two documents. One with itself is not connected.
    ///
    /// # Errors
    /// Returns why a run of edges cannot be kept.
    pub fn connect(&mut self, one: u64, other: u64) -> Result<(), R::Error> {
        if one == other {
            return Ok(());
        }
        self.edges.push(Edge { from: one, to: other })?;
        self.edges.push(Edge { from: other, to: one })
    }

    /// Finds the components of all documents that were connected, and returns them sorted by document. `any` returns whether something
    /// changed on any rank, and is given whether it did on this one.
    ///
    /// # Errors
    /// Returns why runs of edges cannot be kept or taken, and the error of `any`.
    pub fn find(
        &mut self,
        mut any: impl FnMut(bool) -> Result<bool, R::Error>,
    ) -> Result<Memberships<Merge<R::Run, Edge>>, R::Error> {
        self.rounds = 0;
        loop {
            let sorted = self.edges.sorted()?;
            let large = self.large_star(sorted)?;
            let sorted = self.edges.sorted()?;
            let small = self.small_star(sorted)?;
            self.rounds += 1;
            if !any(large || small)? {
                break;
            }
        }
        Ok(Memberships { edges: self.edges.sorted()?, last: None })
    }

    /// Returns the number of rounds that the components took.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Reads edges in both directions, and leaves each once, from the larger document. Returns whether one has changed.
    fn large_star(&mut self, sorted: impl Iterator<Item = Result<Edge, R::Error>>) -> Result<bool, R::Error> {
        let (mut changed, mut least) = (false, Least::default());
        for edge in sorted {
            let Edge { from, to } = edge?;
            let least = least.of(from, to).min(from);
            if to > from {
                changed |= least != from;
                self.edges.push(Edge { from: to, to: least })?;
            }
        }
        Ok(changed)
    }

    /// Reads edges from the larger document, and leaves them in both directions. Returns whether one has changed.
    fn small_star(&mut self, sorted: impl Iterator<Item = Result<Edge, R::Error>>) -> Result<bool, R::Error> {
        let (mut changed, mut least) = (false, Least::default());
        for edge in sorted {
            let Edge { from, to } = edge?;
            let least = least.of(from, to);
            if to == least {
                self.connect(from, least)?;
            } else {
                changed = true;
                self.connect(to, least)?;
            }
        }
        Ok(changed)
    }
}

/// The smallest neighbour of the document whose edges are read: that of its first edge.
#[derive(Default)]
struct Least(Option<Edge>);

impl Least {
    fn of(&mut self, from: u64, to: u64) -> u64 {
        match self.0 {
            Some(first) if first.from == from => first.to,
            _ => {
                self.0 = Some(Edge { from, to });
                to
            }
        }
    }
}

/// Documents of clusters with their clusters, sorted by document. Each cluster has at least two.
pub struct Memberships<I> {
    /// Edges between each document and the smallest of its cluster, in both directions.
    edges: I,
    last: Option<u64>,
}

impl<I: Iterator<Item = Result<Edge, E>>, E> Iterator for Memberships<I> {
    type Item = Result<Membership, E>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Edge { from, to } = match self.edges.next()? {
                Ok(edge) => edge,
                Err(error) => return Some(Err(error)),
            };
            if self.last != Some(from) {
                self.last = Some(from);
                return Some(Ok(Membership { id: from, cluster: from.min(to) }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deduplicate::sort::InMemory;

    fn find(edges: &[(u64, u64)]) -> (Vec<(u64, u64)>, u32) {
        let mut components = Components::new(InMemory::default(), 7);
        edges.iter().for_each(|(one, other)| components.connect(*one, *other).unwrap());
        let found = components.find(Ok).unwrap().map(|member| member.map(|m| (m.id, m.cluster)).unwrap());
        (found.collect(), components.rounds())
    }

    #[test]
    fn each_document_has_the_smallest_of_its_component() {
        let edges = [(9, 7), (7, 8), (3, 5), (6, 6), (5, 1), (4, 5), (9, 8), (u64::MAX, 0)];
        let expected = [(0, 0), (1, 1), (3, 1), (4, 1), (5, 1), (7, 7), (8, 7), (9, 7), (u64::MAX, 0)];
        assert_eq!(find(&edges).0, expected);
    }

    #[test]
    fn without_edges_there_is_no_component() {
        assert_eq!(find(&[]), (Vec::new(), 1));
        assert_eq!(find(&[(2, 2)]), (Vec::new(), 1));
    }

    #[test]
    fn a_star_takes_one_round_and_a_short_chain_few() {
        assert_eq!(find(&[(1, 0), (2, 0), (3, 0)]).1, 1);
        let chain: Vec<(u64, u64)> = (0..1000).map(|id| (id, id + 1)).collect();
        let (found, rounds) = find(&chain);
        assert!(
            found.len() == 1001 && found.iter().all(|(_, cluster)| *cluster == 0) && rounds <= 12,
            "{rounds} rounds"
        );
    }
}
