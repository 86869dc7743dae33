//! Clusters of the worst shapes: a chain of a million documents, and a hundred thousand equal ones.

use std::convert::Infallible;

use webtext::deduplicate::record::{Cluster, Keyed, Member, Membership};
use webtext::deduplicate::{Clusters, Components, InMemory, MinHashOptions, Scratch, Signer, Sorter, Stars};

use crate::support::Random;

const CHAIN: u64 = 1_000_000;

/// Connects each document with the next of `chain`, and returns the number of rounds.
fn rounds(chain: &[u64]) -> u32 {
    let mut components = Components::new(InMemory::default(), 1 << 19);
    chain.windows(2).for_each(|pair| components.connect(pair[0], pair[1]).unwrap());
    let mut next = 0;
    for member in components.find(Ok).unwrap() {
        assert_eq!(member, Ok(Membership { id: next, cluster: 0 }));
        next += 1;
    }
    assert_eq!(next, chain.len() as u64);
    println!("{next} documents in a chain: {} rounds", components.rounds());
    components.rounds()
}

#[test]
fn a_chain_of_a_million_documents_takes_few_rounds_in_order() {
    let rounds = rounds(&(0..CHAIN).collect::<Vec<_>>());
    assert!(rounds <= 22, "{rounds} rounds");
}

#[test]
fn a_chain_of_a_million_documents_takes_few_rounds_in_any_order() {
    let mut chain: Vec<u64> = (0..CHAIN).collect();
    Random::seeded(1).shuffle(&mut chain);
    let rounds = rounds(&chain);
    assert!(rounds <= 22, "{rounds} rounds");
}

#[test]
fn a_hundred_thousand_equal_documents_are_one_cluster_after_one_round() {
    const DOCUMENTS: u64 = 100_000;
    let options = MinHashOptions::default();
    let signer = Signer::new(options).unwrap();
    let text = "The keeper of the old lighthouse wrote a letter to her sister in the evening.";
    let signature = signer.sign(text, &mut Scratch::default()).unwrap();
    let mut components = Components::new(InMemory::default(), 1 << 14);
    for key in signature.band_keys(&options) {
        let mut band = Sorter::new(InMemory::default(), 1 << 14);
        (0..DOCUMENTS).rev().for_each(|id| band.push(Keyed { key, id }).unwrap());
        for edge in Stars::new(band.sorted().unwrap()) {
            let edge = edge.unwrap();
            components.connect(edge.from, edge.to).unwrap();
        }
    }
    let members = components.find(Ok).unwrap().map(|member| {
        let Membership { id, cluster } = member?;
        // All but two are of one length.
        Ok::<_, Infallible>(Member { cluster, id, value: if id == 70_000 || id == 80_000 { 9 } else { 8 } })
    });
    let clusters: Vec<Cluster> = Clusters::new(members, 0).map(Result::unwrap).collect();
    assert_eq!(clusters, [Cluster { cluster: 0, kept: 70_000, documents: DOCUMENTS }]);
    assert_eq!(components.rounds(), 1);
}
