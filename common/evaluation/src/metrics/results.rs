//! Results of a task, from its items and their scores.
//!
//! The order in which scores came is without effect: items are taken in the order of the task, windows in the order of the text.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::item::{Item, Judgement, Units};
use crate::metrics::judged::judged;
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
    /// Values of the task's measures that are finite; none of no items.
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
        // Of no items, or of texts without words, there is nothing to divide by. A perplexity beyond all numbers is left out, too:
        // JSON has no infinity, and the log-likelihood stands beside it.
        metrics: metrics.filter(|metric| !chosen.is_empty() && metric.value.is_finite()).collect(),
        truncated: among(&sequences.truncated),
        skipped: sequences.skipped.clone(),
        empty: among(&sequences.empty),
    })
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

#[cfg(test)]
mod tests;
