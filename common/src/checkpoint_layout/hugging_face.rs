//! Names and files that make a checkpoint's folder a Hugging Face GPT-2 model, which
//! `GPT2LMHeadModel.from_pretrained(folder)` opens as it is. The files of its tokenizer are
//! [`crate::tokenizer::files::for_model`]'s.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::manifest::TensorEntry;
use crate::config::ModelConfig;
use crate::topology::{Rank, WorldSize};

/// Name of the model's configuration.
pub const CONFIG_NAME: &str = "config.json";
/// Name of the index from tensors to objects, which exists if there is more than one object.
pub const INDEX_NAME: &str = "model.safetensors.index.json";
/// Size of GPT-2's own vocabulary; its last token is end-of-text.
const GPT2_VOCABULARY: u64 = 50_257;

/// Returns the name of the object that holds `rank`'s share of the weights.
pub fn model_object(rank: Rank, world: WorldSize) -> String {
    if world == WorldSize::ONE {
        return "model.safetensors".to_owned();
    }
    format!("model-{:05}-of-{world:05}.safetensors", rank.index() + 1)
}

/// Returns the name of the object that holds `rank`'s share of the optimizer's moments. It is Convoy's own: `transformers`
/// ignores it.
pub fn optimizer_object(rank: Rank, world: WorldSize) -> String {
    format!("optimizer-{:05}-of-{world:05}.safetensors", rank.index() + 1)
}

/// Returns `config.json`: a GPT2Config with everything that differs between GPT-2 models, and what GPT-2 always has.
pub fn config_json(model: &ModelConfig) -> Bytes {
    // Another vocabulary has its own end-of-text token, or none. 50256 would lie outside of a smaller one.
    let end_of_text = (model.vocabulary == GPT2_VOCABULARY).then_some(GPT2_VOCABULARY - 1);
    to_bytes(&json!({
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_layer": model.layers,
        "n_embd": model.width,
        "n_head": model.heads,
        "n_positions": model.context_tokens,
        "n_ctx": model.context_tokens,
        "n_inner": null,
        "vocab_size": model.vocabulary,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.02,
        "tie_word_embeddings": true,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "torch_dtype": "float32",
    }))
}

/// Returns `model.safetensors.index.json` for `tensors`.
pub fn index_json(tensors: &[TensorEntry]) -> Bytes {
    let weight_map: BTreeMap<&str, &str> = tensors.iter().map(|t| (t.name.as_str(), t.object.as_str())).collect();
    let total_size = tensors.iter().filter_map(TensorEntry::bytes).fold(0_u64, u64::saturating_add);
    to_bytes(&json!({ "metadata": { "total_size": total_size }, "weight_map": weight_map }))
}

fn to_bytes(value: &Value) -> Bytes {
    Bytes::from(format!("{value:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_numbered_from_one() {
        let world = WorldSize::new(12).unwrap();
        assert_eq!(model_object(Rank(0), WorldSize::ONE), "model.safetensors");
        assert_eq!(model_object(Rank(0), world), "model-00001-of-00012.safetensors");
        assert_eq!(optimizer_object(Rank(11), world), "optimizer-00012-of-00012.safetensors");
        assert_eq!(optimizer_object(Rank(0), WorldSize::ONE), "optimizer-00001-of-00001.safetensors");
    }

    #[test]
    fn the_config_names_an_end_of_text_only_for_gpt2s_vocabulary() {
        let mut model = ModelConfig::preset("gpt2-355m").unwrap();
        let read = |model: &ModelConfig| serde_json::from_slice::<Value>(&config_json(model)).unwrap();
        let config = read(&model);
        assert_eq!((&config["n_layer"], &config["n_embd"], &config["n_head"]), (&json!(24), &json!(1024), &json!(16)));
        assert_eq!((&config["eos_token_id"], &config["layer_norm_epsilon"]), (&json!(50_256), &json!(1e-5)));
        model.vocabulary = 11;
        assert_eq!(read(&model)["eos_token_id"], Value::Null);
    }

    #[test]
    fn the_index_counts_bytes_and_maps_tensors() {
        let tensor =
            |name: &str, object: &str| TensorEntry { name: name.into(), shape: vec![3, 2], object: object.into() };
        let index: Value = serde_json::from_slice(&index_json(&[tensor("b", "y"), tensor("a", "x")])).unwrap();
        assert_eq!(index, json!({ "metadata": { "total_size": 48 }, "weight_map": { "a": "x", "b": "y" } }));
    }
}
