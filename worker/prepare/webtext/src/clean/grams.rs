//! n-grams of words, by hashes that grow by a word at a time.
//!
//! datatrove compares n-grams as strings: words joined by a space for the most frequent one, and by nothing for duplicates, so that
//! ("in", "to") and ("into", "") are equal. A polynomial hash of the bytes modulo 2^61 - 1 has that property without any string:
//! hash(a b) = hash(a) * BASE^len(b) + hash(b).

use std::collections::hash_map::Entry;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::clean::text::characters;

const PRIME: u64 = (1 << 61) - 1;
/// A number without meaning below the prime.
const BASE: u64 = 0x0d1b_54a3_2d19_2ed0;
const SPACE: u64 = b' ' as u64 + 1;

fn times(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    reduce((product as u64 & PRIME) + (product >> 61) as u64)
}

/// Brings a number below twice the prime under it.
fn reduce(sum: u64) -> u64 {
    if sum >= PRIME { sum - PRIME } else { sum }
}

#[derive(Clone, Copy)]
struct Word {
    hash: u64,
    /// BASE to the number of its bytes.
    power: u64,
    characters: u64,
}

impl Word {
    fn of(word: &str) -> Self {
        let (mut hash, mut power) = (0, 1);
        for byte in word.bytes() {
            hash = reduce(times(hash, BASE) + u64::from(byte) + 1);
            power = times(power, BASE);
        }
        let characters = if word.is_ascii() { word.len() } else { characters(word) };
        Word { hash, power, characters: characters as u64 }
    }
}

/// The n-grams of a text, for one n after the other.
pub(crate) struct Grams {
    words: Vec<Word>,
    /// Hash of the n words from each on.
    hashes: Vec<u64>,
    /// Characters of the n words from each on, without spaces.
    characters: Vec<u64>,
    n: usize,
    spaced: bool,
}

impl Grams {
    /// Begins with the words themselves. `spaced` is for grams that are compared with a space between their words.
    pub(crate) fn new(words: &[&str], spaced: bool) -> Self {
        let words: Vec<Word> = words.iter().map(|word| Word::of(word)).collect();
        let hashes = words.iter().map(|word| word.hash).collect();
        let characters = words.iter().map(|word| word.characters).collect();
        Grams { words, hashes, characters, n: 1, spaced }
    }

    /// Begins again with the words themselves, which are compared with nothing between them.
    pub(crate) fn join(&mut self) {
        self.hashes.clear();
        self.hashes.extend(self.words.iter().map(|word| word.hash));
        self.characters.clear();
        self.characters.extend(self.words.iter().map(|word| word.characters));
        (self.n, self.spaced) = (1, false);
    }

    /// Goes on to grams of `n` words, which are more than before.
    pub(crate) fn grow(&mut self, n: usize) {
        while self.n < n {
            let added = self.words.get(self.n..).unwrap_or_default();
            self.hashes.truncate(added.len());
            self.characters.truncate(added.len());
            for ((hash, characters), word) in self.hashes.iter_mut().zip(&mut self.characters).zip(added) {
                let before = if self.spaced { reduce(times(*hash, BASE) + SPACE) } else { *hash };
                *hash = reduce(times(before, word.power) + word.hash);
                *characters += word.characters;
            }
            self.n += 1;
        }
    }

    /// Characters of all occurrences of the most frequent gram, with spaces; of several, of the first. 0 without grams.
    ///
    /// datatrove, `gopher_repetition_filter.py`: `find_top_duplicate`.
    pub(crate) fn top(&self) -> usize {
        let mut counts: FxHashMap<u64, (u64, usize)> = FxHashMap::default();
        counts.reserve(self.hashes.len());
        let (mut most, mut first) = (0, 0);
        for (at, hash) in self.hashes.iter().enumerate() {
            let (count, begins) = match counts.entry(*hash) {
                Entry::Occupied(entry) => {
                    let found = entry.into_mut();
                    found.0 += 1;
                    *found
                }
                Entry::Vacant(entry) => *entry.insert((1, at)),
            };
            if count > most || (count == most && begins < first) {
                (most, first) = (count, begins);
            }
        }
        let characters = self.characters.get(first).map_or(0, |characters| characters + self.n as u64 - 1);
        usize::try_from(characters * most).unwrap_or(usize::MAX)
    }

    /// Characters in grams that came before. Grams that are found do not overlap.
    ///
    /// datatrove, `gopher_repetition_filter.py`: `find_all_duplicate`.
    pub(crate) fn duplicates(&self) -> usize {
        let mut seen: FxHashSet<u64> = FxHashSet::default();
        seen.reserve(self.hashes.len());
        let (mut repeated, mut at) = (0, 0);
        while let Some(hash) = self.hashes.get(at) {
            if seen.insert(*hash) {
                at += 1;
            } else {
                repeated += self.characters[at];
                at += self.n;
            }
        }
        usize::try_from(repeated).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    fn top_by_strings(words: &[&str], n: usize) -> usize {
        let grams: Vec<String> = words.windows(n).map(|gram| gram.join(" ")).collect();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        grams.iter().for_each(|gram| *counts.entry(gram).or_default() += 1);
        let most = counts.values().max().copied().unwrap_or(0);
        grams.iter().find(|gram| counts[gram.as_str()] == most).map_or(0, |gram| characters(gram) * most)
    }

    fn duplicates_by_strings(words: &[&str], n: usize) -> usize {
        let (mut seen, mut repeated, mut at) = (HashSet::new(), 0, 0);
        while at + n <= words.len() {
            let gram = words[at..at + n].concat();
            if seen.contains(&gram) {
                repeated += characters(&gram);
                at += n;
            } else {
                seen.insert(gram);
                at += 1;
            }
        }
        repeated
    }

    proptest! {
        #[test]
        fn hashes_find_what_strings_find(words in prop::collection::vec("[abé]{1,3}", 0..60)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let (mut spaced, mut joined) = (Grams::new(&words, true), Grams::new(&words, false));
            for n in 1..12 {
                spaced.grow(n);
                joined.grow(n);
                prop_assert_eq!(spaced.top(), top_by_strings(&words, n), "top {}", n);
                prop_assert_eq!(joined.duplicates(), duplicates_by_strings(&words, n), "duplicates {}", n);
            }
        }
    }

    #[test]
    fn grams_are_compared_with_a_space_or_without() {
        let words = ["in", "to", "int", "o"];
        let grown = |spaced| {
            let mut grams = Grams::new(&words, spaced);
            grams.grow(2);
            grams
        };
        assert_eq!(grown(false).duplicates(), 4);
        assert_eq!(grown(true).duplicates(), 0);
    }
}
