//! Numbers by a seed, texts of them, pairs, and components by union-find and over ranks.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Barrier, Mutex};

use webtext::deduplicate::record::Edge;
use webtext::deduplicate::{Components, MinHashOptions, Runs, Signature};

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn seeded(seed: u64) -> Self {
        Random(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }

    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for at in (1..values.len()).rev() {
            values.swap(at, self.below(at + 1));
        }
    }

    /// Words of letters, each one of `vocabulary`.
    pub fn words(&mut self, count: usize, vocabulary: usize) -> Vec<String> {
        (0..count).map(|_| word(self.below(vocabulary))).collect()
    }
}

/// A word of its own for each number.
pub fn word(mut number: usize) -> String {
    let mut word = String::from("w");
    while number > 0 {
        word.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
    }
    word
}

/// Whether two documents share a band.
pub fn is_pair(one: &Signature, other: &Signature, options: &MinHashOptions) -> bool {
    one.band_keys(options).zip(other.band_keys(options)).any(|(one, other)| one == other)
}

/// Documents of components with the smallest of them, by union-find in memory.
pub fn union_find(pairs: impl IntoIterator<Item = (u64, u64)>) -> BTreeMap<u64, u64> {
    let mut parents: BTreeMap<u64, u64> = BTreeMap::new();
    fn root(parents: &mut BTreeMap<u64, u64>, id: u64) -> u64 {
        let mut root = id;
        while *parents.entry(root).or_insert(root) != root {
            root = parents[&root];
        }
        parents.insert(id, root);
        root
    }
    for (one, other) in pairs {
        if one != other {
            let (one, other) = (root(&mut parents, one), root(&mut parents, other));
            parents.insert(one.max(other), one.min(other));
        }
    }
    let ids: Vec<u64> = parents.keys().copied().collect();
    ids.into_iter().map(|id| (id, root(&mut parents, id))).collect()
}

/// What ranks exchange, as threads.
pub struct Ranks {
    /// Runs for each rank.
    runs: Mutex<Vec<Vec<Vec<Edge>>>>,
    has_changed: Mutex<bool>,
    barrier: Barrier,
}

/// One of the ranks.
struct OfRank<'r> {
    ranks: &'r Ranks,
    rank: usize,
}

impl Runs<Edge> for OfRank<'_> {
    type Error = Infallible;
    type Run = std::vec::IntoIter<Result<Edge, Infallible>>;

    fn keep(&mut self, run: &[Edge]) -> Result<(), Infallible> {
        let mut runs = self.ranks.runs.lock().unwrap();
        let ranks = runs.len() as u64;
        for (rank, runs) in (0..).zip(runs.iter_mut()) {
            runs.push(run.iter().copied().filter(|edge| edge.from % ranks == rank).collect());
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Vec<Self::Run>, Infallible> {
        self.ranks.barrier.wait();
        let mine = std::mem::take(&mut self.ranks.runs.lock().unwrap()[self.rank]);
        // Until all have taken theirs, nobody keeps more.
        self.ranks.barrier.wait();
        Ok(mine.into_iter().map(|run| run.into_iter().map(Ok).collect::<Vec<_>>().into_iter()).collect())
    }
}

impl Ranks {
    fn any(&self, has_changed: bool) -> bool {
        *self.has_changed.lock().unwrap() |= has_changed;
        self.barrier.wait();
        let any = *self.has_changed.lock().unwrap();
        if self.barrier.wait().is_leader() {
            *self.has_changed.lock().unwrap() = false;
        }
        self.barrier.wait();
        any
    }
}

/// Components of the edges that each of several ranks has, with few of them in memory.
pub fn components_of_ranks(edges: &[Vec<(u64, u64)>], edges_max: usize) -> BTreeMap<u64, u64> {
    let ranks = Ranks {
        runs: Mutex::new(vec![Vec::new(); edges.len()]),
        has_changed: Mutex::new(false),
        barrier: Barrier::new(edges.len()),
    };
    let ranks = &ranks;
    let of_rank = |rank: usize| {
        let mut components = Components::new(OfRank { ranks, rank }, edges_max);
        edges[rank].iter().for_each(|(one, other)| components.connect(*one, *other).unwrap());
        let found = components.find(|has_changed| Ok(ranks.any(has_changed))).unwrap();
        found.map(|member| member.map(|member| (member.id, member.cluster)).unwrap()).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..edges.len()).map(|rank| scope.spawn(move || of_rank(rank))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}
