//! Compares the rows of the embedding with the tokens of the tokenizer.

use common::config::{ModelConfig, RunConfig};
use common::cost::{StepCost, VOCABULARY_MULTIPLE};
use common::preflight::Finding;
use common::tokenizer::Tokenizer;
use common::topology::WorldSize;

use crate::view::figures::with_thousands;

/// Checks that every token has a row in the embedding, and says what rows without a token cost.
pub fn check(config: &RunConfig, tokenizer: &Tokenizer) -> Finding {
    let (name, tokens, rows) = (&config.data.tokenizer, tokenizer.size(), config.model.vocabulary);
    if u64::from(tokens) > rows {
        let text = format!("{name:?} has {tokens} tokens, model.vocabulary is {rows}; give at least {tokens}");
        return Finding::failed("tokenizer", text);
    }
    match unused_rows(config, tokens) {
        Some(text) => Finding::warning("tokenizer", text),
        None => Finding::ok("tokenizer", format!("{name:?}, {tokens} tokens")),
    }
}

/// Describes the rows of the embedding that no token of the config's tokenizer uses; `None` if there are none to speak of. A
/// tokenizer that cannot be opened is left to those who need it.
pub fn unused_rows_of(config: &RunConfig) -> Option<String> {
    let tokens = match config.data.tokenizer.as_str() {
        "gpt2" => u32::from(Tokenizer::GPT2_END_OF_TEXT) + 1,
        own => Tokenizer::open(own, &config.storage).ok()?.size(),
    };
    unused_rows(config, tokens)
}

/// Describes the rows of the embedding beyond `tokens`, and what they cost. Rows up to the next multiple of
/// [`VOCABULARY_MULTIPLE`] cost nothing, since a smaller vocabulary is padded with them.
fn unused_rows(config: &RunConfig, tokens: u32) -> Option<String> {
    let model = &config.model;
    let unused = model.vocabulary.checked_sub(u64::from(tokens).next_multiple_of(VOCABULARY_MULTIPLE))?;
    if unused == 0 {
        return None;
    }
    let fitting = RunConfig { model: ModelConfig { vocabulary: tokens.into(), ..model.clone() }, ..config.clone() };
    let parameters = model.parameters().saturating_sub(fitting.model.parameters());
    let percent = 100 * parameters / model.parameters();
    let megabytes = state_bytes(config).saturating_sub(state_bytes(&fitting)) / 1_000_000;
    Some(format!(
        "{:?} has {} tokens, and model.vocabulary is {}: rows of the embedding that nothing uses are {} parameters, {percent}% of the \
         model, and {} MB on each rank; give the sizes of [model] in place of a preset, with vocabulary = {tokens}",
        config.data.tokenizer,
        with_thousands(tokens.into()),
        with_thousands(model.vocabulary),
        with_thousands(parameters),
        with_thousands(megabytes),
    ))
}

/// Returns the memory of weights, gradients and moments on a rank, in bytes.
fn state_bytes(config: &RunConfig) -> u64 {
    let world = WorldSize::new(config.launch.ranks).unwrap_or(WorldSize::ONE);
    let memory = StepCost::of(config, world, 1, 4).memory();
    memory.weights + memory.master_weights + memory.gradients + memory.moments
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::tests::base_config::base_config;

    #[test]
    fn rows_that_no_token_uses_are_counted_with_what_they_cost() {
        let preset = base_config(&["data.tokenizer=my-tokenizer"]);
        let text = unused_rows(&preset, 8000).unwrap();
        for expected in
            ["has 8,000 tokens", "is 50,257", "2,704,448 parameters, 80% of the model", "43 MB", "vocabulary = 8000"]
        {
            assert!(text.contains(expected), "no {expected:?} in {text}");
        }
        assert_eq!(unused_rows(&preset, 50_257), None);
        // As many are padded in any case.
        assert_eq!(unused_rows(&preset, 50_241), None);
        assert!(unused_rows(&preset, 50_000).is_some());
        assert_eq!(unused_rows_of(&base_config(&[])), None);
        assert_eq!(unused_rows_of(&base_config(&["data.tokenizer=/no/such"])), None);
    }
}
