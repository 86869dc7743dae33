//! Token sequences, with their places in a task.

use std::sync::Arc;

use crate::tokens::Limits;

/// Place of a sequence among those of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Key {
    /// Index of the item in the task.
    pub item: u32,
    /// Index of the request in the item.
    pub request: u32,
    /// Index of the window in the request, 0 for a continuation.
    pub window: u32,
}

/// A sequence of tokens, of which the last are scored. Scores of sequences are independent of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Place in the task.
    pub key: Key,
    /// Ids, at least 2, the scored ones at the end.
    pub ids: Vec<u16>,
    /// Index of the first scored id, at least 1.
    pub first_scored: usize,
    /// Ids, ascending, that are barred from the comparison at the first scored place in
    /// [`Score::is_greedy_with_stop_words_barred`](crate::Score::is_greedy_with_stop_words_barred). Empty where there are none.
    pub barred: Arc<[u16]>,
}

impl Sequence {
    /// Returns the ids that a model is fed: all but the last, which nothing follows.
    pub fn input(&self) -> &[u16] {
        &self.ids[..self.ids.len() - 1]
    }

    /// Returns the scored ids. The logits for the first of them are in row [`Sequence::first_row`] of the model's output.
    pub fn targets(&self) -> &[u16] {
        &self.ids[self.first_scored..]
    }

    /// Returns the place in the input whose logits predict the first scored id.
    pub fn first_row(&self) -> usize {
        self.first_scored - 1
    }

    /// Returns the number of tokens at the start that the inputs of both sequences share. A model computes them once.
    pub fn shared_prefix(&self, other: &Sequence) -> usize {
        self.input().iter().zip(other.input()).take_while(|(left, right)| left == right).count()
    }
}

/// The sequences of a task, and what could not be scored as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequences {
    /// Limits that they keep.
    pub limits: Limits,
    /// Sequences in ascending order of their keys.
    pub sequences: Vec<Sequence>,
    /// Ids of items whose context lost its beginning.
    pub truncated: Vec<String>,
    /// Ids of items that were left out because they do not fit.
    pub skipped: Vec<String>,
    /// Ids of texts without tokens. They count, with a log-likelihood of 0.
    pub empty: Vec<String>,
}

impl Sequences {
    pub(super) fn new(limits: Limits) -> Self {
        let (sequences, truncated, skipped, empty) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Sequences { limits, sequences, truncated, skipped, empty }
    }
}
