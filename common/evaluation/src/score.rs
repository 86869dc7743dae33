//! Scores of sequences, gathered by their place in the task.
//!
//! What comes out does not depend on which rank computed a score, or when: scores are kept by key, and summed in the order of
//! keys. A score that comes twice is an error, as is one that is missing.

use std::collections::BTreeMap;

use crate::tokens::Key;

/// What a model says of a sequence's scored tokens.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Score {
    /// Sum of the logarithms of the tokens' probabilities, in nats.
    pub log_likelihood: f64,
    /// Number of scored tokens.
    pub tokens: u32,
    /// Whether each scored token is the likeliest at its place. Of equally likely tokens, the one with the lowest id counts.
    pub is_greedy: bool,
    /// The same with [`Sequence::barred`](crate::Sequence::barred) ids left out of the comparison at the first scored place. A
    /// target that is barred itself is not greedy. Equal to `is_greedy` where nothing is barred.
    pub is_greedy_with_stop_words_barred: bool,
}

impl Score {
    /// Score of no tokens.
    pub const NONE: Score =
        Score { log_likelihood: 0.0, tokens: 0, is_greedy: true, is_greedy_with_stop_words_barred: true };

    /// Returns the score of this sequence's tokens and the next one's.
    #[must_use]
    pub fn and(self, next: Score) -> Score {
        Score {
            log_likelihood: self.log_likelihood + next.log_likelihood,
            tokens: self.tokens.saturating_add(next.tokens),
            is_greedy: self.is_greedy && next.is_greedy,
            is_greedy_with_stop_words_barred: self.is_greedy_with_stop_words_barred
                && next.is_greedy_with_stop_words_barred,
        }
    }
}

/// Scores by key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores(BTreeMap<Key, Score>);

/// Why a score is refused, or results cannot be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScoreError {
    /// A sequence was scored twice.
    #[error("{key:?} is scored twice: {first:?} and {second:?}")]
    Twice {
        /// Key of the sequence.
        key: Key,
        /// Score that is there.
        first: Score,
        /// Score that comes.
        second: Score,
    },
    /// A log-likelihood is not a number, or is above 0.
    #[error("{key:?} has a log-likelihood of {log_likelihood}: expected a finite number, at most 0")]
    Impossible {
        /// Key of the sequence.
        key: Key,
        /// The log-likelihood.
        log_likelihood: f64,
    },
    /// A sequence has no score.
    #[error("{key:?} has no score")]
    Missing {
        /// Key of the sequence.
        key: Key,
    },
    /// A score belongs to no sequence.
    #[error("{key:?} has a score, but there is no such sequence")]
    Unknown {
        /// Key of the score.
        key: Key,
    },
    /// The scored tokens are not those of the sequence.
    #[error("{key:?} has {scored} scored tokens instead of {expected}")]
    Tokens {
        /// Key of the sequence.
        key: Key,
        /// Tokens of the score.
        scored: u32,
        /// Tokens of the sequence.
        expected: usize,
    },
}

impl Scores {
    /// Takes the score of a sequence.
    ///
    /// # Errors
    /// Refuses a sequence that has a score already, and a log-likelihood that none can have.
    pub fn insert(&mut self, key: Key, score: Score) -> Result<(), ScoreError> {
        let log_likelihood = score.log_likelihood;
        // Rounding can carry a sum of logarithms of probabilities near 1 a little above 0.
        if !log_likelihood.is_finite() || log_likelihood > 1e-3 {
            return Err(ScoreError::Impossible { key, log_likelihood });
        }
        match self.0.insert(key, score) {
            None => Ok(()),
            Some(first) => Err(ScoreError::Twice { key, first, second: score }),
        }
    }

    /// Returns the score of a sequence.
    pub fn get(&self, key: Key) -> Option<Score> {
        self.0.get(&key).copied()
    }

    /// Returns the number of scores.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is no score.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns keys and scores in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (Key, Score)> {
        self.0.iter().map(|(key, score)| (*key, *score))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORE: Score =
        Score { log_likelihood: -1.5, tokens: 2, is_greedy: true, is_greedy_with_stop_words_barred: false };

    fn key(item: u32) -> Key {
        Key { item, request: 0, window: 0 }
    }

    #[test]
    fn a_sequence_that_is_scored_twice_is_refused() {
        let mut scores = Scores::default();
        scores.insert(key(3), SCORE).unwrap();
        assert!(matches!(scores.insert(key(3), SCORE), Err(ScoreError::Twice { .. })));
        scores.insert(key(1), SCORE).unwrap();
        assert_eq!(scores.iter().map(|(key, _)| key.item).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn impossible_log_likelihoods_are_refused() {
        for log_likelihood in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0] {
            let score = Score { log_likelihood, ..SCORE };
            assert!(matches!(Scores::default().insert(key(0), score), Err(ScoreError::Impossible { .. })));
        }
    }

    #[test]
    fn windows_of_a_text_are_greedy_together() {
        let both = SCORE.and(Score { is_greedy: false, ..SCORE });
        assert_eq!((both.log_likelihood, both.tokens, both.is_greedy), (-3.0, 4, false));
        assert_eq!(Score::NONE.and(SCORE), SCORE);
    }
}
