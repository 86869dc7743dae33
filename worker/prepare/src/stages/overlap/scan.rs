//! Where a document overlaps with evaluation sets.

use std::collections::BTreeMap;
use std::ops::Range;

use evaluation::overlap::{GRAM_WORDS, grams};

use super::sets::SEED;
use super::table::GramTable;

/// Words in a row, of which each eight are a gram of evaluation sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Numbers of its words in the document.
    pub words: Range<usize>,
    /// Place in the text, from its first word to the end of its last.
    pub bytes: Range<usize>,
    /// Number of the item that has most of its grams, the first of several.
    pub item: u32,
}

/// What was found in a document.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Grams of the document. One of fewer than eight words has none.
    pub grams: u64,
    /// Grams that evaluation sets have.
    pub seen: u64,
    /// Overlaps, in their order. Two may share words, and never a gram.
    pub runs: Vec<Run>,
}

impl Scan {
    /// Looks for grams of the table in `text`, and calls `see` with the number of each that is there.
    pub fn of(text: &str, table: &GramTable, mut see: impl FnMut(u32)) -> Self {
        let mut scan = Scan::default();
        let mut open = Open::default();
        grams(text, SEED, |gram| {
            let at = scan.grams as usize;
            scan.grams += 1;
            match table.number(gram) {
                Some(number) => {
                    scan.seen += 1;
                    see(number);
                    open.add(at, table.item(number));
                }
                None => scan.runs.extend(open.close()),
            }
        });
        scan.runs.extend(open.close());
        place(text, &mut scan.runs);
        scan
    }

    /// Returns the share of the grams that evaluation sets have; 0 where there are none.
    pub fn share(&self) -> f64 {
        self.seen as f64 / self.grams.max(1) as f64
    }

    /// Returns the run of most words, the first of several.
    pub fn longest(&self) -> Option<&Run> {
        self.runs.iter().reduce(|longest, run| if run.words.len() > longest.words.len() { run } else { longest })
    }
}

/// A run while it comes.
#[derive(Default)]
struct Open {
    /// Numbers of its grams in the document; none where there is no run.
    grams: Range<usize>,
    /// Grams of each item.
    items: BTreeMap<u32, u64>,
}

impl Open {
    fn add(&mut self, at: usize, item: u32) {
        if self.grams.is_empty() {
            self.grams = at..at;
        }
        self.grams.end = at + 1;
        *self.items.entry(item).or_default() += 1;
    }

    /// Ends the run, if there is one. Its place in the text is not known yet.
    fn close(&mut self) -> Option<Run> {
        let Open { grams, items } = std::mem::take(self);
        let (item, _) = items.into_iter().reduce(|most, next| if next.1 > most.1 { next } else { most })?;
        Some(Run { words: grams.start..grams.end + GRAM_WORDS - 1, bytes: 0..0, item })
    }
}

/// Finds the places of runs in the text. Their first words ascend, and so do their last ones.
fn place(text: &str, runs: &mut [Run]) {
    let (mut begun, mut ended) = (0, 0);
    for (number, word) in words(text).enumerate() {
        if let Some(run) = runs.get_mut(begun).filter(|run| run.words.start == number) {
            run.bytes.start = word.start;
            begun += 1;
        }
        if let Some(run) = runs.get_mut(ended).filter(|run| run.words.end == number + 1) {
            run.bytes.end = word.end;
            ended += 1;
        }
        if ended == runs.len() {
            break;
        }
    }
}

/// Returns the places of words as grams have them: runs of alphanumeric characters.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].find(char::is_alphanumeric)?;
        let length = text[start..].find(|c: char| !c.is_alphanumeric());
        at = length.map_or(text.len(), |length| start + length);
        Some(start..at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(items: &[&str]) -> GramTable {
        let mut pairs = Vec::new();
        for (number, text) in (0..).zip(items) {
            grams(text, SEED, |gram| pairs.push((gram.0, number)));
        }
        GramTable::new(pairs)
    }

    #[test]
    fn runs_of_grams_are_found_with_their_words_their_places_and_their_items() {
        let table = table(&["a b c d e f g h", "one two three four five six seven eight nine ten"]);
        let text =
            "Zero: «One two, THREE four five six seven eight – nine; ten!» And a b c d e f g h... a b c d e f g x";
        let mut seen = 0;
        let scan = Scan::of(text, &table, |_| seen += 1);
        assert_eq!((scan.grams, scan.seen, seen), (21, 4, 4));
        let found: Vec<(&str, usize, u32)> =
            scan.runs.iter().map(|run| (&text[run.bytes.clone()], run.words.len(), run.item)).collect();
        let first = "One two, THREE four five six seven eight – nine; ten";
        assert_eq!(found, [(first, 10, 1), ("a b c d e f g h", 8, 0)]);
        assert_eq!(scan.longest().unwrap().words, 1..11);
        assert!((scan.share() - 4.0 / 21.0).abs() < 1e-12);
    }

    #[test]
    fn runs_may_share_words_and_equal_items_are_named_by_the_first() {
        let table = table(&["a b c d e f g h", "d e f g h i j k", "e f g h i j k l"]);
        let text = "a b c d e f g h i j k l";
        let scan = Scan::of(text, &table, |_| ());
        let found: Vec<_> = scan.runs.iter().map(|run| (run.words.clone(), run.item)).collect();
        assert_eq!(found, [(0..8, 0), (3..12, 1)]);
        assert_eq!(&text[scan.runs[1].bytes.clone()], "d e f g h i j k l");
    }

    #[test]
    fn a_text_without_grams_of_sets_has_no_overlap() {
        let table = table(&["a b c d e f g h"]);
        for text in ["", "a b c d e f g", "...", "a b c d e f g. x h"] {
            let scan = Scan::of(text, &table, |_| panic!("{text}"));
            assert_eq!((scan.seen, scan.runs.len(), scan.share(), scan.longest()), (0, 0, 0.0, None));
        }
    }
}
