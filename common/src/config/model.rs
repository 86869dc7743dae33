//! `[model]`: size of the GPT-2 model.

use serde::Serialize;

use super::section::Section;

/// Section `[model]`: either `preset`, or all other keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelConfig {
    /// Number of decoder blocks, L.
    pub layers: u64,
    /// Width of the residual stream, C.
    pub width: u64,
    /// Number of attention heads, H; divides the width.
    pub heads: u64,
    /// Length of the longest sequence, in tokens.
    pub context_tokens: u64,
    /// Number of tokens in the vocabulary, V, unpadded.
    pub vocabulary: u64,
}

/// Presets by name, in order of size.
pub const PRESETS: [(&str, ModelConfig); 5] = [
    ("tiny-cpu", ModelConfig { layers: 3, width: 64, heads: 2, context_tokens: 128, vocabulary: 50_257 }),
    ("gpt2-124m", gpt2(12, 768, 12)),
    ("gpt2-355m", gpt2(24, 1024, 16)),
    ("gpt2-774m", gpt2(36, 1280, 20)),
    ("gpt2-1558m", gpt2(48, 1600, 25)),
];

const fn gpt2(layers: u64, width: u64, heads: u64) -> ModelConfig {
    ModelConfig { layers, width, heads, context_tokens: 1024, vocabulary: 50_257 }
}

impl ModelConfig {
    /// Returns the preset called `name`.
    pub fn preset(name: &str) -> Option<Self> {
        PRESETS.into_iter().find(|(n, _)| *n == name).map(|(_, model)| model)
    }

    /// Returns the number of trained parameters. The head shares the token embedding; padding does not count.
    pub fn parameters(&self) -> u64 {
        let (l, c) = (self.layers, self.width);
        let block = 12 * c * c + 13 * c;
        (self.vocabulary + self.context_tokens) * c + l * block + 2 * c
    }

    /// Returns the floating-point operations per trained token, forward and backward: 6N + 12 L C T (PaLM, appendix B).
    pub fn flops_per_token(&self, sequence_tokens: u64) -> f64 {
        (6 * self.parameters() + 12 * self.layers * self.width * sequence_tokens) as f64
    }

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        const SIZES: [&str; 5] = ["layers", "width", "heads", "context_tokens", "vocabulary"];
        let both = SIZES.into_iter().find(|key| section.has(key));
        if let Some(name) = section.optional::<String>("preset") {
            let known: Vec<_> = PRESETS.iter().map(|(name, _)| *name).collect();
            let preset = Self::preset(&name);
            section.require(
                preset.is_some(),
                "preset",
                format!("{name:?}"),
                format!("is none of {}", known.join(", ")),
            );
            if let Some(key) = both {
                section.require(
                    false,
                    "preset",
                    format!("{name:?}"),
                    format!("excludes model.{key}; give one or the other"),
                );
            }
            for key in SIZES {
                section.optional::<u64>(key);
            }
            return preset.unwrap_or(gpt2(12, 768, 12));
        }
        let hint = "give model.preset, or all of layers, width, heads, context_tokens, vocabulary";
        let [layers, width, heads, context_tokens, vocabulary] =
            SIZES.map(|key| section.required::<u64>(key, hint).max(1));
        let fits = width % heads == 0 || !section.is_sound("width");
        section.require(fits, "heads", heads, format!("does not divide model.width = {width}"));
        ModelConfig { layers, width, heads, context_tokens, vocabulary }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_parameters_of_gpt2() {
        let counts = [
            ("gpt2-124m", 124_439_808),
            ("gpt2-355m", 354_823_168),
            ("gpt2-774m", 774_030_080),
            ("gpt2-1558m", 1_557_611_200),
        ];
        for (name, parameters) in counts {
            assert_eq!(ModelConfig::preset(name).unwrap().parameters(), parameters, "{name}");
        }
    }
}
