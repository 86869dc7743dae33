//! `[evaluation]`: validation loss during training.

use serde::Serialize;

use super::section::Section;

/// Section `[evaluation]`. A run that has validation data also measures its loss at the end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvaluationConfig {
    /// Measure every N steps; 0 measures only at the end. Default 250.
    pub every_steps: u64,
    /// Number of sequences to measure, from the start of the validation data, or all of them if there are fewer. Default 1024.
    pub validation_sequences: u64,
}

impl EvaluationConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        EvaluationConfig {
            every_steps: section.or("every_steps", 250),
            validation_sequences: section.or("validation_sequences", 1024),
        }
    }
}
