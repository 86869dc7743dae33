//! Clusters are those of union-find over all pairs, whatever the order, the memory and the number of ranks.

use std::collections::BTreeMap;

use proptest::prelude::*;
use webtext::deduplicate::record::Keyed;
use webtext::deduplicate::{InMemory, MinHashOptions, Scratch, Signature, Signer, Sorter, Stars};

use crate::support::{Random, components_of_ranks, union_find, word};

/// Documents, some of which are copies of others with some words replaced; a few are too short for a signature.
fn documents(count: usize, random: &mut Random) -> Vec<String> {
    let mut documents: Vec<Vec<String>> = Vec::new();
    while documents.len() < count {
        let copied = random.below(3) > 0 && !documents.is_empty();
        let mut words = if copied {
            documents[random.below(documents.len())].clone()
        } else if random.below(20) == 0 {
            random.words(4, 3)
        } else {
            let length = 20 + random.below(100);
            random.words(length, 2000)
        };
        if copied {
            for _ in 0..random.below(1 + words.len() / 10) {
                let at = random.below(words.len());
                words[at] = word(random.below(2000));
            }
        }
        documents.push(words);
    }
    documents.iter().map(|words| words.join(" ")).collect()
}

/// Pairs of documents that share a band, by comparing all with all.
fn pairs(signatures: &[Option<Signature>], rows: usize) -> Vec<(u64, u64)> {
    let mut pairs = Vec::new();
    let signed = || (0..).zip(signatures).filter_map(|(id, signature)| Some((id, signature.as_ref()?)));
    for (one, signature) in signed() {
        for (other, later) in signed().filter(|(other, _)| *other > one) {
            let mut bands = signature.hashes().chunks(rows).zip(later.hashes().chunks(rows));
            if bands.any(|(one, other)| one == other) {
                pairs.push((one, other));
            }
        }
    }
    pairs
}

/// Edges of each rank, which has every `ranks`th band.
fn edges_of_ranks(signatures: &[Option<Signature>], options: &MinHashOptions, ranks: usize) -> Vec<Vec<(u64, u64)>> {
    let mut edges = vec![Vec::new(); ranks];
    for band in 0..options.bands as usize {
        let mut sorter = Sorter::new(InMemory::default(), 100);
        for (id, signature) in (0..).zip(signatures) {
            let key = signature.as_ref().and_then(|signature| signature.band_keys(options).nth(band));
            key.into_iter().for_each(|key| sorter.push(Keyed { key, id }).unwrap());
        }
        let stars = Stars::new(sorter.sorted().unwrap()).map(Result::unwrap);
        edges[band % ranks].extend(stars.map(|edge| (edge.from, edge.to)));
    }
    edges
}

#[test]
fn clusters_of_2000_documents_are_those_of_all_pairs_over_any_number_of_ranks() {
    let options = MinHashOptions::default();
    let signer = Signer::new(options).unwrap();
    let mut scratch = Scratch::default();
    let documents = documents(2000, &mut Random::seeded(5));
    let signatures: Vec<_> = documents.iter().map(|text| signer.sign(text, &mut scratch)).collect();
    let expected = union_find(pairs(&signatures, 8));
    let mut sizes: BTreeMap<u64, usize> = BTreeMap::new();
    expected.values().for_each(|cluster| *sizes.entry(*cluster).or_default() += 1);
    assert!(sizes.len() > 100 && expected.len() > 500 && expected.len() < 1990, "{sizes:?}");
    assert!(signatures.iter().filter(|signature| signature.is_none()).count() > 10);
    for ranks in [1, 2, 4] {
        let edges = edges_of_ranks(&signatures, &options, ranks);
        assert_eq!(components_of_ranks(&edges, 150), expected, "{ranks} ranks");
    }
}

proptest! {
    #[test]
    fn components_of_random_graphs_are_those_of_union_find(
        edges in prop::collection::vec((0..60_u64, 0..60_u64), 0..90), ranks in 1..4_usize, edges_max in 1..40_usize, offset in any::<u32>()
    ) {
        let edges: Vec<(u64, u64)> = edges.iter().map(|(one, other)| (one * u64::from(offset), other * u64::from(offset))).collect();
        let mut of_ranks = vec![Vec::new(); ranks];
        edges.iter().enumerate().for_each(|(at, edge)| of_ranks[at * 7 % ranks].push(*edge));
        prop_assert_eq!(components_of_ranks(&of_ranks, edges_max), union_find(edges));
    }
}
