//! Results of a task, from its items and their scores.
//!
//! The order in which scores came is without effect: items are taken in the order of the task, windows in the order of the text.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::item::{Continuation, Item, Judgement, Request, Units};
use crate::metrics::standard_error::{mean, of_mean, of_sum};
use crate::metrics::{Direction, Judged, Measure};
use crate::score::{Score, ScoreError, Scores};
use crate::tasks::{Cut, Task};
use crate::tokens::{Limits, Sequences};

/// Value of a measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Name: the measure's, and for texts how they were cut, such as `word_perplexity/whole/window=1024/stride=1024`.
    pub name: String,
    /// Value. Shares are from 0 to 1.
    pub value: f64,
    /// Standard error, where there are at least two samples.
    pub standard_error: Option<f64>,
    /// Which values are better.
    pub better: Direction,
}

/// Results of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Name of the task.
    pub task: String,
    /// Number of items that count.
    pub items: usize,
    /// Scored tokens.
    pub tokens: u64,
    /// Sum of log-likelihoods, in nats, of everything that was scored.
    pub log_likelihood: f64,
    /// Words, characters and bytes of the texts, by which log-likelihoods are divided; 0 for other tasks.
    pub words: u64,
    /// Characters of the texts.
    pub characters: u64,
    /// Bytes of the texts.
    pub bytes: u64,
    /// Values of the task's measures; none of no items.
    pub metrics: Vec<Metric>,
    /// Ids of items whose context lost its beginning.
    pub truncated: Vec<String>,
    /// Ids of items that were left out because they do not fit.
    pub skipped: Vec<String>,
    /// Ids of texts without tokens.
    pub empty: Vec<String>,
}

/// Returns the results over the items of `task` that `selected` holds for, by their index.
///
/// # Errors
/// Returns an error unless there is exactly one score for each sequence.
pub fn results(
    task: &Task,
    items: &[Item],
    sequences: &Sequences,
    scores: &Scores,
    selected: impl Fn(usize) -> bool,
) -> Result<Results, ScoreError> {
    let all = judged(items, sequences, scores)?;
    let chosen: Vec<Judged<'_>> = all.into_iter().filter(|judged| selected(judged.index)).collect();
    let ids: HashSet<&str> = chosen.iter().map(|judged| judged.item.id.as_str()).collect();
    let among = |listed: &[String]| listed.iter().filter(|id| ids.contains(id.as_str())).cloned().collect();
    let total = chosen.iter().flat_map(Judged::scores).fold(Score::NONE, Score::and);
    let units = units(&chosen);
    let metrics = task.measures.iter().map(|measure| metric(*measure, &chosen, task.cut, &sequences.limits));
    Ok(Results {
        task: task.name.to_owned(),
        items: chosen.len(),
        tokens: chosen.iter().flat_map(Judged::scores).map(|score| u64::from(score.tokens)).sum(),
        log_likelihood: total.log_likelihood,
        words: units.words,
        characters: units.characters,
        bytes: units.bytes,
        // Of no items, or of texts without words, there is nothing to divide by.
        metrics: metrics.filter(|metric| !chosen.is_empty() && !metric.value.is_nan()).collect(),
        truncated: among(&sequences.truncated),
        skipped: sequences.skipped.clone(),
        empty: among(&sequences.empty),
    })
}

/// Returns the items that were scored, each with its scores.
fn judged<'a>(items: &'a [Item], sequences: &Sequences, scores: &Scores) -> Result<Vec<Judged<'a>>, ScoreError> {
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

fn units(chosen: &[Judged<'_>]) -> Units {
    chosen.iter().fold(Units::default(), |sum, judged| match judged.item.judgement {
        Judgement::Text(units) => Units {
            words: sum.words + units.words,
            characters: sum.characters + units.characters,
            bytes: sum.bytes + units.bytes,
        },
        _ => sum,
    })
}

fn metric(measure: Measure, chosen: &[Judged<'_>], cut: Option<Cut>, limits: &Limits) -> Metric {
    let name = match cut {
        Some(cut) => format!("{}/{}", measure.name(), cut.in_name(limits)),
        None => measure.name().to_owned(),
    };
    let (value, standard_error) = match measure {
        Measure::LastTokenPerplexity | Measure::LastWordPerplexity => {
            let log_likelihoods: Vec<f64> =
                chosen.iter().flat_map(Judged::scores).map(|score| score.log_likelihood).collect();
            let value = (-mean(&log_likelihoods)).exp();
            (value, of_mean(&log_likelihoods).map(|error| value * error))
        }
        Measure::WordPerplexity
        | Measure::BytePerplexity
        | Measure::TokenPerplexity
        | Measure::BitsPerByte
        | Measure::BitsPerCharacter => of_texts(measure, chosen),
        _ => {
            let right: Vec<f64> = chosen
                .iter()
                .filter_map(|judged| judged.is_right(measure))
                .map(|right| f64::from(u8::from(right)))
                .collect();
            (mean(&right), of_mean(&right))
        }
    };
    Metric { name, value, standard_error, better: measure.better() }
}

/// Value and standard error of a measure of texts. The samples are windows, weighted by their tokens.
fn of_texts(measure: Measure, chosen: &[Judged<'_>]) -> (f64, Option<f64>) {
    let windows: Vec<(f64, f64)> = chosen
        .iter()
        .flat_map(|judged| judged.windows.iter().flatten())
        .map(|score| (score.log_likelihood, f64::from(score.tokens)))
        .collect();
    let log_likelihood: f64 = chosen.iter().flat_map(Judged::scores).map(|score| score.log_likelihood).sum();
    let units = units(chosen);
    let count = match measure {
        Measure::WordPerplexity => units.words as f64,
        Measure::BitsPerCharacter => units.characters as f64,
        Measure::TokenPerplexity => windows.iter().map(|(_, tokens)| tokens).sum(),
        _ => units.bytes as f64,
    };
    let (mean, error) = (-log_likelihood / count, of_sum(&windows).map(|error| error / count));
    match measure {
        Measure::BitsPerByte | Measure::BitsPerCharacter => {
            (mean / std::f64::consts::LN_2, error.map(|error| error / std::f64::consts::LN_2))
        }
        _ => (mean.exp(), error.map(|error| mean.exp() * error)),
    }
}

/// An item's requests and scores, as `--samples` writes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Id of the item.
    pub id: String,
    /// Each request with its score.
    pub requests: Vec<SampleRequest>,
    /// Index of the right choice, if there are choices.
    pub gold: Option<usize>,
    /// Names of the measures by which the item is right.
    pub right_by: Vec<String>,
}

/// A request and its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRequest {
    /// Context; empty for a text.
    pub context: String,
    /// Continuation, or the text.
    pub continuation: String,
    /// Sum over the scored tokens, in nats.
    pub log_likelihood: f64,
    /// Scored tokens.
    pub tokens: u32,
    /// Whether each scored token is the likeliest.
    pub is_greedy: bool,
}

/// Returns every item that was scored, with its requests and scores.
///
/// # Errors
/// Returns an error unless there is exactly one score for each sequence.
pub fn samples(task: &Task, items: &[Item], sequences: &Sequences, scores: &Scores) -> Result<Vec<Sample>, ScoreError> {
    let sample = |judged: Judged<'_>| {
        let right = |measure: &&Measure| judged.is_right(**measure) == Some(true);
        let requests = judged.item.requests.iter().zip(judged.scores()).map(|(request, score)| {
            let (context, continuation) = match request {
                Request::Continuation(Continuation { context, continuation, .. }) => (context.clone(), continuation),
                Request::Text(text) => (String::new(), text),
            };
            let Score { log_likelihood, tokens, is_greedy, .. } = score;
            SampleRequest { context, continuation: continuation.clone(), log_likelihood, tokens, is_greedy }
        });
        Sample {
            id: judged.item.id.clone(),
            requests: requests.collect(),
            gold: match judged.item.judgement {
                Judgement::Choice { gold, .. } => Some(gold),
                _ => None,
            },
            right_by: task.measures.iter().filter(right).map(|measure| measure.name().to_owned()).collect(),
        }
    };
    Ok(judged(items, sequences, scores)?.into_iter().map(sample).collect())
}

#[cfg(test)]
mod tests;
