//! The tokenizer's files in a checkpoint, by which Hugging Face's `AutoTokenizer` opens its folder.

use bytes::Bytes;
use common::config::RunConfig;
use common::tokenizer::{Tokenizer, files};

/// Makes the files of the tokenizer that `config` names, with their names. Fails with the reason if the tokenizer cannot
/// be read, or is another than that of the token shards, which has the hash `expected`.
pub(super) fn make(config: &RunConfig, expected: &str) -> Result<Vec<(&'static str, Bytes)>, String> {
    let tokenizer = Tokenizer::open(&config.data.tokenizer, &config.storage).map_err(|error| error.to_string())?;
    if tokenizer.hash() != expected {
        return Err(format!(
            "data.tokenizer now has the hash {}, and that of the token shards is {expected}; correct data.tokenizer",
            tokenizer.hash()
        ));
    }
    Ok(files::for_model(tokenizer.vocabulary(), config.model.context_tokens))
}

#[cfg(test)]
mod tests {
    use common::config::RawConfig;

    use super::*;

    fn config(tokenizer: &str) -> RunConfig {
        let text = format!(
            "[run]\noutput = \"memory://x\"\n[model]\npreset = \"tiny-cpu\"\n\
             [data]\ntokenizer = \"{tokenizer}\"\ntrain = [{{ url = \"memory://x\" }}]\n\
             [batch]\nglobal_sequences = 2\nmicro_sequences = 2\nsequence_tokens = 16\n\
             [optimizer]\npeak_learning_rate = 1e-2\nwarmup_steps = 1\n[train]\nmax_steps = 10\n"
        );
        RawConfig::parse("of the test", &text, &[]).unwrap().run().unwrap()
    }

    #[test]
    fn files_are_those_of_the_token_shards_tokenizer() {
        let hash = Tokenizer::gpt2().unwrap().hash().to_owned();
        let config = config("gpt2");
        let made = make(&config, &hash).unwrap();
        let names: Vec<&str> = made.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["vocab.json", "merges.txt", "tokenizer_config.json", "tokenizer.json"]);
        let settings: serde_json::Value = serde_json::from_slice(&made[2].1).unwrap();
        assert_eq!(settings["model_max_length"], config.model.context_tokens);
        let bytes: usize = made.iter().map(|(_, content)| content.len()).sum();
        assert!(bytes < 4 << 20, "{bytes} bytes in each checkpoint");
    }

    #[test]
    fn a_tokenizer_that_is_gone_or_another_gives_the_reason() {
        let gone = make(&config("memory://tokenizer-files/gone"), "00").unwrap_err();
        assert!(gone.contains("memory://tokenizer-files/gone"), "{gone}");
        let other = make(&config("gpt2"), "00").unwrap_err();
        assert!(other.contains("that of the token shards is 00"), "{other}");
    }
}
