//! Generates text from a checkpoint: one token after the other, each drawn from the model's distribution.
//!
//! - this file: loads the checkpoint's model, encodes the prompt, and generates the text that follows.
//! - [`draw`]: how one token is drawn.
//! - [`error`]: why none can be.

pub mod draw;
pub mod error;

use std::io::{self, Write};

use common::checkpoint_layout::{CheckpointName, Manifest};
use common::config::RunConfig;
use common::storage::Folder;
use common::tokenizer::{DecodeStream, Tokenizer};
use tch::{Device, Kind, Tensor};

use crate::checkpoint;
use crate::data::DataError;
use crate::error::JobError;
use crate::libtorch::random::Random;
use crate::model::Gpt2;
use crate::saving::snapshot::shapes;

use draw::Draw;
use error::GenerateError;

/// Settings of a text to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleOptions {
    /// Beginning of the text; empty for the start of a document.
    pub prompt: String,
    /// Number of tokens to draw at most: the text may end before.
    pub tokens: u64,
    /// Settings by which each token is drawn.
    pub draw: Draw,
    /// Seed of the draws.
    pub seed: u64,
    /// Folder name of the checkpoint; `None` for the newest.
    pub checkpoint: Option<String>,
}

/// Writes the prompt and the generated text to standard output, as tokens are drawn.
pub fn sample(config: &RunConfig, options: &SampleOptions) -> Result<(), JobError> {
    options.draw.check()?;
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
    let random = Random::seeded(options.seed);
    for _ in 0..options.tokens {
        let next = options.draw.token(&next_logits(&model, &ids)?, &random);
        if next == i64::from(tokenizer.end_of_text()) {
            break;
        }
        ids.push(next);
        // If `model.vocabulary` is larger than the tokenizer's, a drawn row may belong to no token, and has no text.
        let piece = u16::try_from(next).ok().and_then(|id| text.push(id)).unwrap_or_default();
        if is_gone(&piece) {
            return Ok(());
        }
    }
    is_gone(&(text.finish() + "\n"));
    Ok(())
}

/// Loads the model of the run's newest checkpoint, or of the one called `name`.
fn load_model(config: &RunConfig, name: Option<&str>, tokenizer: &Tokenizer) -> Result<Gpt2, JobError> {
    let run = Folder::open(&config.run.output, &config.storage)?;
    let (folder, manifest) = match name {
        Some(name) => {
            let parsed = CheckpointName::parse(name);
            let parsed = parsed.ok_or_else(|| GenerateError::NotACheckpoint { name: name.to_owned() })?;
            checkpoint::read_manifest(&run, &parsed)?
        }
        None => checkpoint::newest_manifest(&run, config.checkpoint.on_corrupt)?
            .ok_or_else(|| GenerateError::NoneCommitted { url: run.url().to_owned() })?,
    };
    check_tokenizer(folder.url(), &manifest, tokenizer, &config.data.tokenizer)?;
    let model = Gpt2::zeros(&config.model, Kind::Float, Device::Cpu);
    checkpoint::check_model(folder.url(), &manifest, &shapes(&model))?;
    model.layout.load(&model.flat, &checkpoint::read_weights(&folder, &manifest)?);
    Ok(model)
}

/// Refuses a tokenizer that is not the model's; `name` is the config's.
fn check_tokenizer(url: &str, manifest: &Manifest, tokenizer: &Tokenizer, name: &str) -> Result<(), GenerateError> {
    match manifest.tokenizer_hash == tokenizer.hash() {
        true => Ok(()),
        false => Err(GenerateError::OtherTokenizer {
            url: url.to_owned(),
            expected: manifest.tokenizer_hash.clone(),
            name: name.to_owned(),
            got: tokenizer.hash().to_owned(),
        }),
    }
}

/// Returns the logits `[V]` after `ids`, of which only the last ones within the model's context count.
fn next_logits(model: &Gpt2, ids: &[i64]) -> Result<Tensor, JobError> {
    let context = &ids[ids.len().saturating_sub(model.config.context_tokens as usize)..];
    let inputs = Tensor::from_slice(context).unsqueeze(0); // [1, T]
    Ok(model.logits(&inputs)?.select(0, 0).select(0, -1))
}
