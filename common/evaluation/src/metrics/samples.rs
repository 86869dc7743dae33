//! Every item with its requests and scores, for a file.

use serde::{Deserialize, Serialize};

use crate::item::{Continuation, Item, Judgement, Request};
use crate::metrics::judged::judged;
use crate::metrics::{Judged, Measure};
use crate::score::{Score, ScoreError, Scores};
use crate::tasks::Task;
use crate::tokens::Sequences;

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
