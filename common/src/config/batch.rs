//! `[batch]`: number and length of the sequences of one step.

use serde::Serialize;

use super::section::Section;

/// Section `[batch]`. No value needs to divide another: see [`crate::batch_plan`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BatchConfig {
    /// Sequences per step over all ranks.
    pub global_sequences: u64,
    /// Largest number of sequences per forward pass on one rank. May change on resume.
    pub micro_sequences: u64,
    /// Tokens per sequence, T.
    pub sequence_tokens: u64,
}

impl BatchConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let [global_sequences, micro_sequences, sequence_tokens] =
            ["global_sequences", "micro_sequences", "sequence_tokens"]
                .map(|key| section.required(key, "give a whole number"));
        BatchConfig { global_sequences, micro_sequences, sequence_tokens }
    }
}
