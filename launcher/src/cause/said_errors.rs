//! Errors that ranks have printed, so that one that all of them fail for is shown once.

use std::collections::{BTreeMap, BTreeSet};

use common::topology::Rank;

use super::words::{begins_message, is_error, words_of};

/// Most errors that are kept, and most further lines of each. What comes after them is always shown.
const KEPT_MAX: usize = 100;

/// Errors that ranks have printed, each with its further lines.
#[derive(Debug, Default)]
pub struct SaidErrors {
    errors: BTreeMap<String, SaidError>,
    /// Error to which the next lines of a rank belong.
    current: BTreeMap<Rank, String>,
}

/// An error, as the rank printed it that did first.
#[derive(Debug)]
struct SaidError {
    rank: Rank,
    /// Lines after the first.
    more: BTreeSet<String>,
}

impl SaidErrors {
    /// Hears a line that `rank` has printed on standard error. Returns whether it says again what another rank has said: the
    /// first line of an error, apart from the rank's own number, or a line of the rest of that error.
    pub fn hear(&mut self, rank: Rank, line: &str) -> bool {
        if is_error(line) {
            return self.begin(rank, words_of(line));
        }
        if begins_message(line) {
            self.current.remove(&rank);
        }
        let Some(error) = self.current.get(&rank).and_then(|words| self.errors.get_mut(words)) else { return false };
        if error.rank == rank && error.more.len() < KEPT_MAX {
            error.more.insert(line.to_owned());
        }
        error.rank != rank && error.more.contains(line)
    }

    fn begin(&mut self, rank: Rank, words: &str) -> bool {
        if self.errors.len() >= KEPT_MAX && !self.errors.contains_key(words) {
            self.current.remove(&rank);
            return false;
        }
        self.current.insert(rank, words.to_owned());
        let new = || SaidError { rank, more: BTreeSet::new() };
        self.errors.entry(words.to_owned()).or_insert_with(new).rank != rank
    }

    /// Returns whether a rank has said `line` in an error.
    pub fn has(&self, line: &str) -> bool {
        self.errors.contains_key(line) || self.errors.values().any(|error| error.more.contains(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns which of these lines say something new.
    fn new(lines: &[(u32, &str)]) -> Vec<bool> {
        let mut said = SaidErrors::default();
        lines.iter().map(|(rank, line)| !said.hear(Rank(*rank), line)).collect()
    }

    #[test]
    fn lines_of_another_error_are_no_repetition_although_they_read_alike() {
        let lines = [
            (0, "2026-01-01T00:00:07Z ERROR rank 0: cannot write a:"),
            (0, "  permission denied"),
            (1, "2026-01-01T00:00:07Z ERROR rank 1: cannot write b:"),
            (1, "  permission denied"),
            (2, "2026-01-01T00:00:07Z ERROR rank 2: cannot write b:"),
            (2, "  permission denied"),
            (2, "  no space"),
        ];
        assert_eq!(new(&lines), [true, true, true, true, false, false, true]);
    }

    #[test]
    fn what_ranks_say_beside_errors_is_always_shown() {
        let warning = "2026-01-01T00:00:07Z  WARN slow";
        let lines = [(0, "error: x"), (0, warning), (0, "more"), (1, "error: x"), (1, warning), (1, "more")];
        assert_eq!(new(&lines), [true, true, true, false, true, true]);
    }

    #[test]
    fn endless_errors_are_not_kept() {
        let mut said = SaidErrors::default();
        for number in 0..10_000 {
            assert!(!said.hear(Rank(0), &format!("error {number}")));
            (0..3).for_each(|line| assert!(!said.hear(Rank(0), &format!("line {line} of {number}"))));
        }
        assert_eq!((said.errors.len(), said.current.len()), (KEPT_MAX, 0));
    }
}
