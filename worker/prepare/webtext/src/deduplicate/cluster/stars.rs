//! Edges between documents of one key.

use crate::deduplicate::record::{Edge, Keyed};

/// Edges from each document to the first that has its key, in the order of keys.
///
/// A key of n documents makes n - 1 edges rather than all n (n - 1) / 2 pairs, and they connect the same documents.
pub struct Stars<I> {
    keyed: I,
    first: Option<Keyed>,
}

impl<I> Stars<I> {
    /// Begins with documents that are sorted by key and number.
    pub fn new(keyed: I) -> Self {
        Stars { keyed, first: None }
    }
}

impl<I: Iterator<Item = Result<Keyed, E>>, E> Iterator for Stars<I> {
    type Item = Result<Edge, E>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let keyed = match self.keyed.next()? {
                Ok(keyed) => keyed,
                Err(error) => return Some(Err(error)),
            };
            match self.first {
                Some(first) if first.key == keyed.key => {
                    return Some(Ok(Edge { from: keyed.id, to: first.id }));
                }
                _ => self.first = Some(keyed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_a_key_have_an_edge_to_the_first() {
        let keyed = [(1, 4), (2, 1), (2, 3), (2, 7), (3, 0), (4, 2), (4, 9)];
        let keyed = keyed.map(|(key, id)| Ok::<_, String>(Keyed { key, id }));
        let edges: Vec<(u64, u64)> =
            Stars::new(keyed.into_iter()).map(|edge| edge.map(|e| (e.from, e.to)).unwrap()).collect();
        assert_eq!(edges, [(3, 1), (7, 1), (9, 2)]);
    }

    #[test]
    fn an_error_is_passed_on() {
        let keyed = [Ok(Keyed { key: 1, id: 1 }), Err("broken")];
        assert_eq!(Stars::new(keyed.into_iter()).collect::<Vec<_>>(), [Err("broken")]);
    }
}
