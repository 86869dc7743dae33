//! Which documents are for training and which for validation, and in which order.
//!
//! The side of a document is a function of its text, the seed and the fraction, so documents with the same text are on
//! the same side, and a document stays on its side when others are added. The order is a function of the seed
//! and of the documents' positions in the inputs.

use crate::corpus::{Document, seeded_hash};

/// The documents of each side, in the order in which they are written.
#[derive(Debug, PartialEq, Eq)]
pub struct Sides<'d> {
    /// To train on.
    pub train: Vec<&'d Document>,
    /// To measure the validation loss on.
    pub validation: Vec<&'d Document>,
}

/// Divides and shuffles `documents`: about `fraction` of them for validation, and at least one for each side where
/// there are two or more and the fraction is not 0.
pub fn split(documents: &[Document], fraction: f64, seed: u64) -> Sides<'_> {
    let mut order: Vec<usize> = (0..documents.len()).collect();
    order.sort_by_cached_key(|i| (seeded_hash(seed, &(*i as u64).to_le_bytes()), *i));
    let least = documents.iter().map(|d| d.hash).min().unwrap_or_default();
    let most = documents.iter().map(|d| d.hash).max().unwrap_or_default();
    let is_validation = |i: usize| match fraction > 0.0 && documents.len() > 1 {
        false => false,
        true if least < most => documents[i].hash < bound(fraction).clamp(least + 1, most),
        // All texts are the same, and one of them has to do.
        true => i == 0,
    };
    let (validation, train): (Vec<usize>, Vec<usize>) = order.into_iter().partition(|i| is_validation(*i));
    let documents_of = |side: Vec<usize>| side.into_iter().map(|i| &documents[i]).collect();
    Sides { train: documents_of(train), validation: documents_of(validation) }
}

/// Hashes below this are `fraction` of all.
fn bound(fraction: f64) -> u64 {
    (fraction * 2f64.powi(64)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(hashes: impl IntoIterator<Item = u64>) -> Vec<Document> {
        let document = |(hash, i)| Document { tokens: vec![i], text_bytes: 1, hash };
        hashes.into_iter().zip(0..).map(document).collect()
    }

    fn sizes(hashes: &[u64], fraction: f64) -> (usize, usize) {
        let documents = documents(hashes.iter().copied());
        let sides = split(&documents, fraction, 1);
        (sides.train.len(), sides.validation.len())
    }

    #[test]
    fn the_fraction_holds_and_every_document_is_there_once() {
        let documents = documents((0..10_000).map(|i: u64| seeded_hash(3, &i.to_le_bytes())));
        let sides = split(&documents, 0.1, 1);
        assert!((900..1100).contains(&sides.validation.len()), "{}", sides.validation.len());
        let mut all: Vec<u16> = sides.train.iter().chain(&sides.validation).map(|d| d.tokens[0]).collect();
        assert!(!all.is_sorted());
        all.sort_unstable();
        assert_eq!(all, (0..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_seed_gives_one_order_and_another_seed_another() {
        let documents = documents(0..100);
        assert_eq!(split(&documents, 0.0, 1), split(&documents, 0.0, 1));
        assert_ne!(split(&documents, 0.0, 1), split(&documents, 0.0, 2));
    }

    #[test]
    fn neither_side_is_empty_when_there_are_two_documents() {
        assert_eq!(sizes(&[5, 6], 1e-12), (1, 1));
        assert_eq!(sizes(&[5, u64::MAX], 0.999), (1, 1));
        assert_eq!(sizes(&[5, 6], 0.999), (1, 1));
        assert_eq!(sizes(&[5, 5], 0.5), (1, 1));
        assert_eq!(sizes(&[0, 0, u64::MAX], 0.5), (1, 2));
        assert_eq!(sizes(&[5], 0.5), (1, 0));
        assert_eq!(sizes(&[5, 6], 0.0), (2, 0));
        assert_eq!(sizes(&[], 0.5), (0, 0));
    }
}
