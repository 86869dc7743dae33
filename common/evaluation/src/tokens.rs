//! Requests become token sequences for a model.
//!
//! A context and its continuation are encoded together and split behind the context's own tokens: encoding each by itself may
//! give other tokens where they meet. White space at the end of a context belongs to the continuation. What has no context
//! follows one end-of-text. The rules are those of lm-evaluation-harness, except that nothing is cut off in silence.

use std::sync::Arc;

use crate::item::{Continuation, Item, Judgement, Request, Scored};
use crate::stop_words;
use crate::windows::windows;

/// A tokenizer, as far as evaluation needs one.
pub trait Encode {
    /// Encodes `text` as a document: without end-of-text, and special tokens in it are ordinary text.
    fn encode(&self, text: &str) -> Vec<u16>;

    /// Returns the id of end-of-text, which stands in front of documents.
    fn end_of_text(&self) -> u16;
}

/// What is done with a continuation that does not fit into a model's context together with its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLong {
    /// The task is not evaluated: an error names the item.
    Refuse,
    /// The beginning of the context is left out, and the item is listed.
    #[default]
    Truncate,
    /// The item is left out of the results, and listed.
    Skip,
}

/// Limits of the sequences that a model is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Tokens that the model takes at most.
    pub context_tokens: usize,
    /// Tokens that a window over a text feeds the model at most, up to `context_tokens`.
    pub window_tokens: usize,
    /// Tokens that each window over a text but the first predicts at most, up to `window_tokens`.
    pub stride_tokens: usize,
    /// What is done with continuations that do not fit.
    pub on_long: OnLong,
}

impl Limits {
    /// Returns the limits of a model, with windows that do not overlap.
    pub fn of_model(context_tokens: usize, on_long: OnLong) -> Self {
        Limits { context_tokens, window_tokens: context_tokens, stride_tokens: context_tokens, on_long }
    }

    fn check(&self) -> Result<(), EncodeError> {
        let Limits { context_tokens, window_tokens, stride_tokens, .. } = *self;
        let fits = 1 <= stride_tokens && stride_tokens <= window_tokens && window_tokens <= context_tokens;
        if fits { Ok(()) } else { Err(EncodeError::Windows { context_tokens, window_tokens, stride_tokens }) }
    }
}

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
    fn new(limits: Limits) -> Self {
        let (sequences, truncated, skipped, empty) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Sequences { limits, sequences, truncated, skipped, empty }
    }
}

/// Why items cannot be made into sequences.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A continuation has no tokens.
    #[error("item {item}: the continuation {continuation:?} has no tokens of its own, so there is nothing to score")]
    EmptyContinuation {
        /// Id of the item.
        item: String,
        /// Its text, shortened.
        continuation: String,
    },
    /// An item does not fit, and it was said to refuse such.
    #[error(
        "item {item} has {tokens} tokens, but the model takes {context_tokens}; --on-long truncate leaves out the beginning \
         of its context, --on-long skip leaves out the item"
    )]
    Long {
        /// Id of the item.
        item: String,
        /// Tokens to feed.
        tokens: usize,
        /// Tokens that the model takes.
        context_tokens: usize,
    },
    /// The scored tokens of an item do not fit.
    #[error(
        "item {item}: {scored} tokens are to be scored, but the model takes {context_tokens}; --on-long skip leaves out the item"
    )]
    LongContinuation {
        /// Id of the item.
        item: String,
        /// Scored tokens.
        scored: usize,
        /// Tokens that the model takes.
        context_tokens: usize,
    },
    /// The window or the stride is out of range.
    #[error(
        "a window of {window_tokens} tokens with a stride of {stride_tokens}: expected \
         1 <= stride <= window <= {context_tokens}, the model's context"
    )]
    Windows {
        /// Tokens that the model takes.
        context_tokens: usize,
        /// Tokens of a window.
        window_tokens: usize,
        /// Tokens predicted by a window.
        stride_tokens: usize,
    },
    /// There are more items, requests or windows than can be numbered.
    #[error("item {item}: a task has at most 2^32 items, requests of an item, and windows of a request")]
    TooMany {
        /// Id of the item.
        item: String,
    },
}

/// Encodes the requests of `items`.
///
/// # Errors
/// Returns the first item with an empty continuation, or one that does not fit and is neither truncated nor skipped.
pub fn encode_items(items: &[Item], tokenizer: &impl Encode, limits: &Limits) -> Result<Sequences, EncodeError> {
    limits.check()?;
    let mut encoder = Encoder { tokenizer, limits, barred: None, result: Sequences::new(*limits) };
    for (index, item) in items.iter().enumerate() {
        encoder.item(index, item)?;
    }
    Ok(encoder.result)
}

struct Encoder<'a, E> {
    tokenizer: &'a E,
    limits: &'a Limits,
    /// Ids of stop words, once they are needed.
    barred: Option<Arc<[u16]>>,
    result: Sequences,
}

/// A request as tokens, before it has a place in the task.
struct Encoded {
    ids: Vec<u16>,
    first_scored: usize,
}

impl<E: Encode> Encoder<'_, E> {
    fn item(&mut self, index: usize, item: &Item) -> Result<(), EncodeError> {
        let number = |index: usize| u32::try_from(index).map_err(|_| EncodeError::TooMany { item: item.id.clone() });
        let mut sequences = Vec::new();
        let mut truncated = false;
        for (request_index, request) in item.requests.iter().enumerate() {
            let encoded = match request {
                Request::Text(text) => self.text(text),
                Request::Continuation(continuation) => {
                    let mut encoded = self.continuation(&item.id, continuation)?;
                    match self.fit(&item.id, &mut encoded)? {
                        Fit::Whole => {}
                        Fit::Truncated => truncated = true,
                        Fit::Skip => {
                            self.result.skipped.push(item.id.clone());
                            return Ok(());
                        }
                    }
                    vec![encoded]
                }
            };
            if encoded.is_empty() {
                self.result.empty.push(item.id.clone());
            }
            for (window, Encoded { ids, first_scored }) in encoded.into_iter().enumerate() {
                let key = Key { item: number(index)?, request: number(request_index)?, window: number(window)? };
                let barred = self.barred(item, ids[first_scored]);
                sequences.push(Sequence { key, ids, first_scored, barred });
            }
        }
        if truncated {
            self.result.truncated.push(item.id.clone());
        }
        self.result.sequences.append(&mut sequences);
        Ok(())
    }

    fn text(&self, text: &str) -> Vec<Encoded> {
        let tokens = self.tokenizer.encode(text);
        let windows =
            windows(&tokens, self.tokenizer.end_of_text(), self.limits.window_tokens, self.limits.stride_tokens);
        windows.into_iter().map(|window| Encoded { ids: window.ids, first_scored: window.first_scored }).collect()
    }

    fn continuation(&self, item: &str, request: &Continuation) -> Result<Encoded, EncodeError> {
        let whole = format!("{}{}", request.context, request.continuation);
        // White space at the end of the context belongs to the continuation.
        let context = request.context.trim_end();
        let end_of_text = self.tokenizer.end_of_text();
        let mut ids = self.tokenizer.encode(&whole);
        let mut first_scored = if context.is_empty() {
            // A text that begins with end-of-text gets no second one.
            if ids.first() != Some(&end_of_text) {
                ids.insert(0, end_of_text);
            }
            1
        } else {
            self.tokenizer.encode(context).len()
        };
        if first_scored >= ids.len() {
            let continuation = request.continuation.chars().take(80).collect();
            return Err(EncodeError::EmptyContinuation { item: item.to_owned(), continuation });
        }
        if request.scored == Scored::LastToken {
            first_scored = ids.len() - 1;
        }
        Ok(Encoded { ids, first_scored })
    }

    /// Makes a sequence fit into the model's context, if the policy is to truncate.
    fn fit(&self, item: &str, encoded: &mut Encoded) -> Result<Fit, EncodeError> {
        let context_tokens = self.limits.context_tokens;
        let tokens = encoded.ids.len() - 1;
        let Some(excess) = tokens.checked_sub(context_tokens).filter(|excess| *excess > 0) else {
            return Ok(Fit::Whole);
        };
        match self.limits.on_long {
            OnLong::Skip => Ok(Fit::Skip),
            OnLong::Refuse => Err(EncodeError::Long { item: item.to_owned(), tokens, context_tokens }),
            OnLong::Truncate if excess < encoded.first_scored => {
                encoded.ids.drain(..excess);
                encoded.first_scored -= excess;
                Ok(Fit::Truncated)
            }
            OnLong::Truncate => {
                let scored = encoded.ids.len() - encoded.first_scored;
                Err(EncodeError::LongContinuation { item: item.to_owned(), scored, context_tokens })
            }
        }
    }

    /// Returns the ids that are barred at the first scored place of `item`, where `target` is right.
    fn barred(&mut self, item: &Item, target: u16) -> Arc<[u16]> {
        let (Judgement::LastWord, Some(Request::Continuation(request))) = (&item.judgement, item.requests.first())
        else {
            return Arc::from([]);
        };
        if self.barred.is_none() {
            self.barred = Some(stop_words::ids(|text| self.tokenizer.encode(text)).into());
        }
        let all = self.barred.clone().unwrap_or_default();
        // The first token of a longer word may be a stop word by itself, as " a" of " absinthe".
        let is_stop_word = stop_words::is_stop_word(request.continuation.split_whitespace().last().unwrap_or_default());
        if is_stop_word || all.binary_search(&target).is_err() {
            return all;
        }
        all.iter().copied().filter(|id| *id != target).collect()
    }
}

enum Fit {
    Whole,
    Truncated,
    Skip,
}

#[cfg(test)]
mod tests;
