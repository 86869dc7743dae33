//! Trains byte-level BPE: learns a [`Vocabulary`] from texts, with the merges that Hugging Face's `tokenizers` would learn.
//!
//! Text is split as by GPT-2, so no merge crosses its character categories, and each distinct piece is counted once
//! ([`WordCounts`]). Then, again and again, the most frequent pair of neighbouring tokens becomes a token. Among equally
//! frequent pairs, the one with the lower left id comes first, then the lower right id. Ids are assigned to special tokens
//! first, then to the 256 bytes in the order of the characters that stand for them in files, then to merges. Counts are 64
//! bits wide.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

use super::printable::char_of_byte;
use super::split;
use super::vocabulary::{AddedToken, END_OF_TEXT, MOST_TOKENS, Merge, Vocabulary};
use crate::figures::counted;

/// Number of occurrences of each piece of text, in bounded memory.
pub struct WordCounts {
    counts: FxHashMap<Box<[u8]>, u64>,
    /// Largest number of distinct words that are held.
    most_words: usize,
    dropped: Dropped,
}

/// What was left out because there were too many distinct words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Number of entries removed. A word that was removed and came back counts again.
    pub words: u64,
    /// Number of occurrences of these words.
    pub occurrences: u64,
}

/// Why a vocabulary cannot be trained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrainError {
    /// The requested size is impossible.
    #[error(
        "a vocabulary of {size} tokens; it must have between {least} (256 bytes and {}) and {MOST_TOKENS}",
        counted(*special as u64, "special token")
    )]
    Size {
        /// Requested size.
        size: usize,
        /// Number of special tokens.
        special: usize,
        /// Smallest possible size.
        least: usize,
    },
    /// A special token is given twice, or is empty.
    #[error("the special token {0:?} is empty or given twice")]
    Special(String),
    /// Text could be merged to the special token, and would then have its id.
    #[error("the special token {0:?} is a word of ordinary text; mark it as no text is written, such as <|{0}|>")]
    SpecialIsText(String),
    /// The end-of-text token, which Convoy needs, is missing.
    #[error("no special token {END_OF_TEXT}; it precedes each document, so it must be among the special tokens")]
    NoEndOfText,
}

impl WordCounts {
    /// Returns empty counts. Of more than `most_words` distinct words, at about 100 bytes each, the rarest are dropped.
    pub fn new(most_words: usize) -> Self {
        WordCounts { counts: FxHashMap::default(), most_words: most_words.max(1), dropped: Dropped::default() }
    }

    /// Counts the words of `text`.
    pub fn count(&mut self, text: &str) {
        for piece in split::pieces(text) {
            match self.counts.get_mut(piece.as_bytes()) {
                Some(count) => *count += 1,
                None => drop(self.counts.insert(piece.as_bytes().into(), 1)),
            }
        }
        self.prune();
    }

    /// Adds the counts of `other`. Equal parts added in an equal order give equal counts, even if words are dropped.
    pub fn add(&mut self, other: WordCounts) {
        for (word, count) in other.counts {
            *self.counts.entry(word).or_default() += count;
        }
        self.dropped.words += other.dropped.words;
        self.dropped.occurrences += other.dropped.occurrences;
        self.prune();
    }

    /// Returns the number of distinct words.
    pub fn words(&self) -> usize {
        self.counts.len()
    }

    /// Returns what was left out.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Drops the words with the lowest counts, until at most half of the allowed number is left.
    fn prune(&mut self) {
        if self.counts.len() <= self.most_words {
            return;
        }
        let mut by_count = std::collections::BTreeMap::<u64, usize>::new();
        for count in self.counts.values() {
            *by_count.entry(*count).or_default() += 1;
        }
        let (mut left, mut limit) = (self.counts.len(), 0);
        for (count, words) in by_count {
            if left <= self.most_words / 2 {
                break;
            }
            (left, limit) = (left - words, count);
        }
        let dropped = &mut self.dropped;
        self.counts.retain(|_, count| {
            let keeps = *count > limit;
            if !keeps {
                dropped.words += 1;
                dropped.occurrences += *count;
            }
            keeps
        });
    }
}

/// Learns a vocabulary of `size` tokens, including special ones and bytes, or fewer if the words have no more pairs. Calls
/// `progress` now and then with the number of tokens.
pub fn train(
    words: WordCounts,
    size: usize,
    special: &[String],
    mut progress: impl FnMut(usize),
) -> Result<Vocabulary, TrainError> {
    check(size, special)?;
    let mut tokens: Vec<Vec<u8>> = special.iter().map(|token| token.clone().into_bytes()).collect();
    let mut bytes: Vec<(char, u8)> = char_of_byte().into_iter().zip(0..=u8::MAX).collect();
    bytes.sort_unstable();
    tokens.extend(bytes.into_iter().map(|(_, byte)| vec![byte]));
    let mut trainer = Trainer::new(words, &tokens, special.len());
    // A union that is a token already keeps its id, as in Hugging Face's library.
    let mut ids: FxHashMap<Vec<u8>, u16> = tokens.iter().cloned().zip(0..).collect();
    let mut merges = Vec::new();
    while tokens.len() < size {
        let Some((left, right)) = trainer.most_frequent() else { break };
        let union = [&tokens[usize::from(left)][..], &tokens[usize::from(right)]].concat();
        let id = *ids.entry(union.clone()).or_insert(tokens.len() as u16);
        if usize::from(id) == tokens.len() {
            tokens.push(union);
        }
        merges.push(Merge { left, right, union: id });
        trainer.merge(left, right, id);
        if merges.len() % 256 == 0 {
            progress(tokens.len());
        }
    }
    Ok(Vocabulary { tokens, merges, added: (0..special.len() as u16).map(AddedToken::special).collect() })
}

/// Checks that a vocabulary of this size, with these special tokens, can be trained.
pub fn check(size: usize, special: &[String]) -> Result<(), TrainError> {
    for (i, token) in special.iter().enumerate() {
        if token.is_empty() || special[..i].contains(token) {
            return Err(TrainError::Special(token.clone()));
        }
        // Merges stay within a piece.
        if split::pieces(token).count() == 1 {
            return Err(TrainError::SpecialIsText(token.clone()));
        }
    }
    if !special.iter().any(|token| token == END_OF_TEXT) {
        return Err(TrainError::NoEndOfText);
    }
    let least = 256 + special.len();
    if !(least..=MOST_TOKENS).contains(&size) {
        return Err(TrainError::Size { size, special: special.len(), least });
    }
    Ok(())
}

/// left << 16 | right, so that the order of pairs breaks ties.
type Pair = u32;

fn pair(left: u16, right: u16) -> Pair {
    u32::from(left) << 16 | u32::from(right)
}

/// All words as tokens, with the places of each pair of neighbours.
struct Trainer {
    words: Vec<Word>,
    /// Tokens of all words.
    tokens: Vec<u16>,
    pairs: FxHashMap<Pair, Occurrences>,
    /// Pairs with an earlier count of each. Counts are never too low, so the top is right if its count still holds.
    queue: BinaryHeap<(i64, Reverse<Pair>)>,
    /// Pairs that a merge has made.
    made: Vec<Pair>,
}

struct Word {
    /// Start of the word's tokens.
    start: usize,
    length: u32,
    count: i64,
}

#[derive(Default)]
struct Occurrences {
    count: i64,
    /// Words that have, or had, the pair; each listed once.
    words: Vec<u32>,
}

impl Trainer {
    /// Prepares training. Bytes follow `first_byte` special tokens.
    fn new(counted: WordCounts, tokens: &[Vec<u8>], first_byte: usize) -> Self {
        let mut id_of_byte = [0; 256];
        for (id, token) in tokens.iter().enumerate().skip(first_byte) {
            id_of_byte[usize::from(token[0])] = id as u16;
        }
        let mut trainer = Trainer {
            words: vec![],
            tokens: vec![],
            pairs: FxHashMap::default(),
            queue: BinaryHeap::new(),
            made: vec![],
        };
        for (word, count) in counted.counts {
            let (start, length) = (trainer.tokens.len(), word.len() as u32);
            trainer.tokens.extend(word.iter().map(|byte| id_of_byte[usize::from(*byte)]));
            trainer.words.push(Word { start, length, count: i64::try_from(count).unwrap_or(i64::MAX) });
        }
        for (index, word) in (0..).zip(&trainer.words) {
            for neighbours in trainer.tokens[word.start..word.start + word.length as usize].windows(2) {
                let pair = pair(neighbours[0], neighbours[1]);
                trainer.pairs.entry(pair).or_default().add(word.count, index);
            }
        }
        trainer.queue = trainer.pairs.iter().map(|(pair, found)| (found.count, Reverse(*pair))).collect();
        trainer
    }

    /// Returns the pair to merge next, if any is left.
    fn most_frequent(&mut self) -> Option<(u16, u16)> {
        loop {
            let (count, Reverse(pair)) = self.queue.pop()?;
            let now = self.pairs.get(&pair).map_or(0, |found| found.count);
            if now == count {
                return Some(((pair >> 16) as u16, pair as u16));
            }
            if now > 0 {
                self.queue.push((now, Reverse(pair)));
            }
        }
    }

    /// Replaces every `left` followed by `right` by `union`.
    fn merge(&mut self, left: u16, right: u16, union: u16) {
        let found = self.pairs.remove(&pair(left, right)).unwrap_or_default();
        for index in found.words {
            self.merge_in(index, left, right, union);
        }
        for pair in self.made.drain(..) {
            if let Some(found) = self.pairs.get(&pair).filter(|found| found.count > 0) {
                self.queue.push((found.count, Reverse(pair)));
            }
        }
    }

    fn merge_in(&mut self, index: u32, left: u16, right: u16, union: u16) {
        let word = &mut self.words[index as usize];
        let count = word.count;
        let tokens = &mut self.tokens[word.start..word.start + word.length as usize];
        // Tokens up to `kept` are done; tokens from `next` on are unchanged.
        let (mut kept, mut next) = (0, 0);
        while next < tokens.len() {
            if tokens[next] != left || tokens.get(next + 1) != Some(&right) {
                tokens[kept] = tokens[next];
                (kept, next) = (kept + 1, next + 1);
                continue;
            }
            if kept > 0 {
                let before = tokens[kept - 1];
                lose(&mut self.pairs, pair(before, left), count);
                gain(&mut self.pairs, &mut self.made, pair(before, union), count, index);
            }
            if let Some(after) = tokens.get(next + 2) {
                lose(&mut self.pairs, pair(right, *after), count);
                gain(&mut self.pairs, &mut self.made, pair(union, *after), count, index);
            }
            tokens[kept] = union;
            (kept, next) = (kept + 1, next + 2);
        }
        word.length = kept as u32;
    }
}

impl Occurrences {
    fn add(&mut self, count: i64, word: u32) {
        self.count += count;
        if self.words.last() != Some(&word) {
            self.words.push(word);
        }
    }
}

fn lose(pairs: &mut FxHashMap<Pair, Occurrences>, pair: Pair, count: i64) {
    if let Some(found) = pairs.get_mut(&pair) {
        found.count -= count;
    }
}

fn gain(pairs: &mut FxHashMap<Pair, Occurrences>, made: &mut Vec<Pair>, pair: Pair, count: i64, word: u32) {
    let found = pairs.entry(pair).or_default();
    if found.words.is_empty() {
        made.push(pair);
    }
    found.add(count, word);
}

#[cfg(test)]
mod tests {
    use super::super::bpe::Tokenizer;
    use super::super::files;
    use super::*;
    use crate::config::StorageConfig;
    use crate::storage::Folder;

    fn special() -> Vec<String> {
        vec![END_OF_TEXT.to_owned()]
    }

    fn trained(text: &str, size: usize) -> Vocabulary {
        let mut counts = WordCounts::new(1 << 20);
        counts.count(text);
        train(counts, size, &special(), |_| ()).unwrap()
    }

    #[test]
    fn the_most_frequent_pair_goes_first_and_the_lower_ids_of_equals() {
        let vocabulary = trained("ab ab ab cd cd cd xy xy", 263);
        let learnt: Vec<_> = vocabulary.tokens[257..].iter().map(|t| String::from_utf8_lossy(t).into_owned()).collect();
        // ab, cd and " c" come up 3 times each, " ab" and "xy" twice. The space's character is above the letters'.
        assert_eq!(learnt, ["ab", "cd", " cd", "xy", " ab", " xy"]);
        let tokenizer = Tokenizer::new("trained", vocabulary).unwrap();
        assert_eq!(tokenizer.encode("ab cd xy<").len(), 4);
    }

    #[test]
    fn fewer_tokens_where_there_are_no_more_pairs() {
        assert_eq!(trained("aaaa", 1000).tokens[257..], [b"aa".to_vec(), b"aaaa".to_vec()]);
        assert_eq!(trained("a b", 1000).tokens[257..], [b" b".to_vec()]);
        assert_eq!(trained("", 1000).tokens.len(), 257);
    }

    #[test]
    fn what_is_dropped_is_counted_and_the_frequent_stay() {
        let mut counts = WordCounts::new(10);
        counts.count("a a a b b b");
        for n in 0..100 {
            counts.count(&format!("{n}"));
        }
        assert!(counts.words() <= 10);
        let Dropped { words, occurrences } = counts.dropped();
        // "a", " a", "b" and " b" are distinct: "a" and " b" came up once and three times, "0" to "99" once each.
        assert_eq!(words as usize + counts.words(), 103);
        assert_eq!(words, occurrences);
        let kept: Vec<_> = counts.counts.keys().filter(|word| word.len() == 2 && word[0] == b' ').collect();
        assert_eq!(kept.len(), 2, "{kept:?}");
    }

    #[test]
    fn the_largest_vocabulary_is_learnt_written_and_read() {
        let letter = |n: u32| char::from(b'a' + (n % 26) as u8);
        // Four letters each, none the start of another, so each word becomes a token.
        let text: String = (0..80_000_u32)
            .flat_map(|n| [' ', letter(n / 17_576), letter(n / 676), letter(n / 26), letter(n)])
            .collect();
        let vocabulary = trained(&text, MOST_TOKENS);
        assert_eq!(vocabulary.tokens.len(), MOST_TOKENS);
        let folder = Folder::open("memory://largest-vocabulary", &StorageConfig::default()).unwrap();
        files::write(&folder, &vocabulary).unwrap();
        let read = Tokenizer::open(folder.url(), &StorageConfig::default()).unwrap();
        assert_eq!(read.vocabulary(), &vocabulary);
        let last = String::from_utf8(vocabulary.tokens[MOST_TOKENS - 1].clone()).unwrap();
        assert_eq!(read.encode(&last), [u16::MAX]);
        assert_eq!(read.decode(&[u16::MAX]).unwrap(), last.as_bytes());
    }

    #[test]
    fn sizes_and_special_tokens_are_checked() {
        let train = |size, special: &[&str]| {
            let special: Vec<_> = special.iter().map(|s| (*s).to_owned()).collect();
            train(WordCounts::new(1), size, &special, |_| ()).err().unwrap()
        };
        assert_eq!(train(256, &[END_OF_TEXT]), TrainError::Size { size: 256, special: 1, least: 257 });
        assert_eq!(train(65_537, &[END_OF_TEXT]), TrainError::Size { size: 65_537, special: 1, least: 257 });
        assert_eq!(train(300, &[END_OF_TEXT, "<x>", "<x>"]), TrainError::Special("<x>".into()));
        assert_eq!(train(300, &[END_OF_TEXT, ""]), TrainError::Special("".into()));
        assert_eq!(train(300, &[END_OF_TEXT, " pad"]), TrainError::SpecialIsText(" pad".into()));
        assert_eq!(train(300, &[]), TrainError::NoEndOfText);
    }
}
