//! Requests become token sequences for a model.
//!
//! A context and its continuation are encoded together and split behind the context's own tokens: encoding each by itself may
//! give other tokens where they meet. White space at the end of a context belongs to the continuation. What has no context
//! follows one end-of-text. The rules are those of lm-evaluation-harness, except that nothing is cut off in silence.

use std::sync::Arc;

use crate::item::{Continuation, Item, Judgement, Request, Scored};
use crate::stop_words;
use crate::tokens::error::WINDOWS_TOKENS_MAX;
use crate::tokens::windows::windows;
use crate::tokens::{EncodeError, Key, Limits, OnLong, Sequence, Sequences};

/// A tokenizer, as far as evaluation needs one.
pub trait Encode {
    /// Encodes `text` as a document: without end-of-text, and special tokens in it are ordinary text.
    fn encode(&self, text: &str) -> Vec<u16>;

    /// Returns the id of end-of-text, which stands in front of documents.
    fn end_of_text(&self) -> u16;
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
                Request::Text(text) => self.text(&item.id, text)?,
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

    fn text(&self, item: &str, text: &str) -> Result<Vec<Encoded>, EncodeError> {
        let tokens = self.tokenizer.encode(text);
        let Limits { window_tokens, stride_tokens, .. } = *self.limits;
        let fed = tokens.len().div_ceil(stride_tokens).saturating_mul(window_tokens + 1);
        if fed > WINDOWS_TOKENS_MAX {
            return Err(EncodeError::ManyWindows { item: item.to_owned(), tokens: tokens.len(), stride_tokens, fed });
        }
        let windows = windows(&tokens, self.tokenizer.end_of_text(), window_tokens, stride_tokens);
        Ok(windows.into_iter().map(|window| Encoded { ids: window.ids, first_scored: window.first_scored }).collect())
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
