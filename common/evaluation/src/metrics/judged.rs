//! Items with their scores.

use std::collections::HashSet;

use crate::item::{Item, Judgement};
use crate::metrics::Measure;
use crate::score::{Score, ScoreError, Scores};
use crate::tokens::Sequences;

/// An item with its scores.
#[derive(Debug, Clone)]
pub struct Judged<'a> {
    /// The item.
    pub item: &'a Item,
    /// Index of the item in its task.
    pub index: usize,
    /// Scores by request, then by window.
    pub windows: Vec<Vec<Score>>,
}

impl Judged<'_> {
    /// Returns the score of each request, of all of its windows together.
    pub fn scores(&self) -> Vec<Score> {
        self.windows.iter().map(|windows| windows.iter().copied().fold(Score::NONE, Score::and)).collect()
    }

    /// Returns whether the item is right by a measure, if it is one by which items are right or wrong.
    pub fn is_right(&self, measure: Measure) -> Option<bool> {
        let scores = self.scores();
        match (&self.item.judgement, measure) {
            (Judgement::LastWord, Measure::Accuracy) => Some(scores.first()?.is_greedy),
            (Judgement::LastWord, Measure::AccuracyStopWordsBarred) => {
                Some(scores.first()?.is_greedy_with_stop_words_barred)
            }
            (Judgement::Choice { gold, lengths }, _) => {
                let divisor = |index: usize| match measure {
                    Measure::Accuracy => Some(1.0),
                    Measure::AccuracyPerCharacter => Some(lengths.get(index)?.characters as f64),
                    Measure::AccuracyPerByte => Some(lengths.get(index)?.bytes as f64),
                    Measure::AccuracyPerToken => Some(f64::from(scores[index].tokens)),
                    _ => None,
                };
                let values: Option<Vec<f64>> =
                    (0..scores.len()).map(|index| Some(scores[index].log_likelihood / divisor(index)?)).collect();
                Some(first_highest(&values?) == Some(*gold))
            }
            _ => None,
        }
    }
}

/// Returns the items that were scored, each with its scores.
///
/// # Errors
/// Returns an error unless there is exactly one score for each sequence.
pub(super) fn judged<'a>(
    items: &'a [Item],
    sequences: &Sequences,
    scores: &Scores,
) -> Result<Vec<Judged<'a>>, ScoreError> {
    let with = |(index, item): (usize, &'a Item)| {
        let windows = vec![Vec::new(); item.requests.len()];
        Judged { item, index, windows }
    };
    let mut all: Vec<Judged<'a>> = items.iter().enumerate().map(with).collect();
    let mut known = HashSet::with_capacity(sequences.sequences.len());
    for sequence in &sequences.sequences {
        let key = sequence.key;
        let score = scores.get(key).ok_or(ScoreError::Missing { key })?;
        if score.tokens as usize != sequence.targets().len() {
            return Err(ScoreError::Tokens { key, scored: score.tokens, expected: sequence.targets().len() });
        }
        known.insert(key);
        let request = all.get_mut(key.item as usize).and_then(|judged| judged.windows.get_mut(key.request as usize));
        request.ok_or(ScoreError::Unknown { key })?.push(score);
    }
    if let Some((key, _)) = scores.iter().find(|(key, _)| !known.contains(key)) {
        return Err(ScoreError::Unknown { key });
    }
    // An empty text counts, and an item that was skipped does not.
    let counts = |judged: &Judged<'_>| {
        matches!(judged.item.judgement, Judgement::Text(_)) || judged.windows.iter().all(|windows| !windows.is_empty())
    };
    Ok(all.into_iter().filter(counts).collect())
}

/// Returns the index of the highest value, of equal ones the first.
fn first_highest(values: &[f64]) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (index, value) in values.iter().enumerate() {
        if best.is_none_or(|(_, highest)| *value > highest) {
            best = Some((index, *value));
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{Length, Request};

    fn score(log_likelihood: f64, tokens: u32) -> Score {
        Score { log_likelihood, tokens, ..Score::NONE }
    }

    #[test]
    fn each_normalization_can_choose_another_ending() {
        let endings = ["abcd", "éé", "abcdefgh", "a"];
        let item = Item {
            id: "1".to_owned(),
            requests: endings.iter().map(|ending| Request::continuation("x", format!(" {ending}"))).collect(),
            judgement: Judgement::Choice { gold: 0, lengths: endings.map(Length::of).to_vec() },
        };
        let scores = [score(-6.0, 1), score(-2.9, 1), score(-10.4, 8), score(-2.0, 1)];
        // LL: 3. Per character, -1.5, -1.45, -1.3, -2: 2. Per byte, -1.5, -0.725: 1. Per token, -6, -2.9, -1.3, -2: 2.
        for (measure, gold) in [
            (Measure::Accuracy, 3),
            (Measure::AccuracyPerCharacter, 2),
            (Measure::AccuracyPerByte, 1),
            (Measure::AccuracyPerToken, 2),
        ] {
            for choice in 0..4 {
                let Judgement::Choice { lengths, .. } = item.judgement.clone() else { panic!() };
                let item = Item { judgement: Judgement::Choice { gold: choice, lengths }, ..item.clone() };
                let judged = Judged { item: &item, index: 0, windows: scores.map(|score| vec![score]).to_vec() };
                assert_eq!(judged.is_right(measure), Some(choice == gold), "{measure:?}");
            }
        }
    }

    #[test]
    fn ties_go_to_the_first_choice() {
        assert_eq!(first_highest(&[-2.0, -1.0, -1.0]), Some(1));
        assert_eq!(first_highest(&[]), None);
    }
}
