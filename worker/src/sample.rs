//! Text from a checkpoint: one token after the other, each drawn from the model's distribution.

use std::io::{self, Write};

use common::checkpoint_layout::{CheckpointName, Manifest};
use common::config::RunConfig;
use common::storage::Folder;
use common::tokenizer::{DecodeStream, Tokenizer};
use tch::{Device, Kind, Tensor};

use crate::checkpoint;
use crate::data::DataError;
use crate::error::JobError;
use crate::model::Gpt2;

/// How text is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleOptions {
    /// What the text begins with; empty for the start of a document.
    pub prompt: String,
    /// How many tokens to draw at most: text may end before.
    pub tokens: u64,
    /// The logits are divided by this; 0 takes the likeliest token.
    pub temperature: f64,
    /// Draw only from so many of the likeliest tokens; 0 for all.
    pub top_k: u64,
    /// Draw only from the likeliest tokens that together have this probability; 1 for all.
    pub top_p: f64,
    /// Seed of the draws.
    pub seed: u64,
    /// The checkpoint's folder name; the newest where there is none.
    pub checkpoint: Option<String>,
}

/// Writes the prompt and what follows it to standard output, as it comes.
pub fn sample(config: &RunConfig, options: &SampleOptions) -> Result<(), JobError> {
    options.check()?;
    let _no_grad = tch::no_grad_guard();
    let tokenizer = Tokenizer::open(&config.data.tokenizer, &config.storage).map_err(DataError::from)?;
    let model = load_model(config, options.checkpoint.as_deref(), &tokenizer)?;
    let mut ids = vec![i64::from(tokenizer.end_of_text())];
    ids.extend(tokenizer.encode(&options.prompt).into_iter().map(i64::from));
    let mut text = DecodeStream::new(tokenizer.clone());
    // A reader that has gone away has seen enough.
    let is_gone = |text: &str| {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err()
    };
    if is_gone(&options.prompt) {
        return Ok(());
    }
    tch::manual_seed(options.seed as i64);
    for _ in 0..options.tokens {
        let next = options.draw(&next_logits(&model, &ids)?);
        if next == i64::from(tokenizer.end_of_text()) {
            break;
        }
        ids.push(next);
        // A row that no token has, where `model.vocabulary` is more than the tokenizer's, is no text.
        let piece = u16::try_from(next).ok().and_then(|id| text.push(id)).unwrap_or_default();
        if is_gone(&piece) {
            return Ok(());
        }
    }
    is_gone(&(text.finish() + "\n"));
    Ok(())
}

/// The model of the run's newest checkpoint, or of the one called `name`.
fn load_model(config: &RunConfig, name: Option<&str>, tokenizer: &Tokenizer) -> Result<Gpt2, JobError> {
    let run = Folder::open(&config.run.output, &config.storage)?;
    let (folder, manifest) = match name {
        Some(name) => {
            let parsed = CheckpointName::parse(name).ok_or_else(|| {
                JobError::Usage(format!("{name:?} is no checkpoint's name; `launcher checkpoints list` shows them"))
            })?;
            checkpoint::read_manifest(&run, &parsed)?
        }
        None => checkpoint::newest_manifest(&run, config.checkpoint.on_corrupt)?.ok_or_else(|| {
            JobError::Usage(format!("{} has no committed checkpoint; train first with `launcher train`", run.url()))
        })?,
    };
    check_tokenizer(folder.url(), &manifest, tokenizer, &config.data.tokenizer)?;
    let model = Gpt2::zeros(&config.model, Kind::Float, Device::Cpu);
    checkpoint::check_model(folder.url(), &manifest, &crate::saving::snapshot::shapes(&model))?;
    model.layout.load(&model.flat, &checkpoint::read_weights(&folder, &manifest)?);
    Ok(model)
}

/// Text of one tokenizer means nothing to a model of another.
fn check_tokenizer(url: &str, manifest: &Manifest, tokenizer: &Tokenizer, name: &str) -> Result<(), JobError> {
    match manifest.tokenizer_hash == tokenizer.hash() {
        true => Ok(()),
        false => Err(JobError::Usage(format!(
            "{url} was trained with a tokenizer whose hash is {}, but data.tokenizer = {name:?} has {}; name the one that \
             the token shards were made with",
            manifest.tokenizer_hash,
            tokenizer.hash()
        ))),
    }
}

/// The logits [V] after `ids`, of which as many count as the model has context for.
fn next_logits(model: &Gpt2, ids: &[i64]) -> Result<Tensor, JobError> {
    let context = &ids[ids.len().saturating_sub(model.config.context_tokens as usize)..];
    let inputs = Tensor::from_slice(context).unsqueeze(0); // [1, T]
    Ok(model.logits(&inputs)?.select(0, 0).select(0, -1))
}

impl SampleOptions {
    fn check(&self) -> Result<(), JobError> {
        let refuse = |what: String| Err(JobError::Usage(what));
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return refuse(format!("--temperature {} must be at least 0", self.temperature));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return refuse(format!("--top-p {} must be above 0 and at most 1", self.top_p));
        }
        Ok(())
    }

    /// Draws one token from `logits` [V].
    fn draw(&self, logits: &Tensor) -> i64 {
        if self.temperature == 0.0 {
            return logits.argmax(-1, false).int64_value(&[]);
        }
        let (sorted, ids) = (logits / self.temperature).sort(-1, true);
        let probabilities = sorted.softmax(-1, Kind::Float);
        let likelier = probabilities.cumsum(0, Kind::Float) - &probabilities;
        let rank = Tensor::arange(logits.size()[0], (Kind::Int64, Device::Cpu));
        let mut excluded = likelier.ge(self.top_p);
        if self.top_k > 0 {
            excluded = excluded.logical_or(&rank.ge(self.top_k as i64));
        }
        let drawn = probabilities.masked_fill(&excluded, 0.0).multinomial(1, false).int64_value(&[0]);
        ids.int64_value(&[drawn])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> SampleOptions {
        SampleOptions {
            prompt: String::new(),
            tokens: 1,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            seed: 1,
            checkpoint: None,
        }
    }

    /// How often each of four tokens is drawn of 4,000 times.
    fn frequencies(options: &SampleOptions) -> Vec<f64> {
        tch::manual_seed(7);
        let logits = Tensor::from_slice(&[0.4f32, 0.3, 0.2, 0.1]).log();
        let mut counts = vec![0.0; 4];
        for _ in 0..4000 {
            counts[options.draw(&logits) as usize] += 1.0 / 4000.0;
        }
        counts
    }

    fn assert_near(got: &[f64], expected: &[f64]) {
        assert!(got.iter().zip(expected).all(|(g, e)| (g - e).abs() < 0.05), "{got:?}, expected {expected:?}");
    }

    #[test]
    fn draws_follow_the_distribution_and_its_cuts() {
        assert_near(&frequencies(&options()), &[0.4, 0.3, 0.2, 0.1]);
        assert_near(&frequencies(&SampleOptions { top_k: 2, ..options() }), &[4.0 / 7.0, 3.0 / 7.0, 0.0, 0.0]);
        assert_near(&frequencies(&SampleOptions { top_p: 0.8, ..options() }), &[4.0 / 9.0, 3.0 / 9.0, 2.0 / 9.0, 0.0]);
        assert_eq!(frequencies(&SampleOptions { temperature: 0.0, ..options() })[0].round(), 1.0);
    }
}
