//! Combinations of values that are each sound alone and impossible together.

use std::fmt;

use super::bounds::{self, RUN_SEQUENCES};
use super::error::Fault;
use super::run_config::RunConfig;

impl RunConfig {
    /// Returns the faults that no section can see alone. A combination is judged only if none of its values is among the
    /// `known` faults, since the config holds a default in place of a faulty value.
    pub(super) fn impossible_combinations(&self, known: &[Fault]) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut refuse = |wrong: bool, [key, other]: [&str; 2], value: &dyn fmt::Display, hint: String| {
            let is_sound = |key: &str| !known.iter().any(|fault| fault.key.starts_with(key));
            if wrong && is_sound(key) && is_sound(other) {
                faults.push(Fault { key: key.into(), value: Some(value.to_string()), hint });
            }
        };
        let (model, batch, optimizer) = (&self.model, &self.batch, &self.optimizer);
        refuse(
            batch.micro_sequences > batch.global_sequences,
            ["batch.micro_sequences", "batch.global_sequences"],
            &batch.micro_sequences,
            format!("exceeds batch.global_sequences = {}; lower it", batch.global_sequences),
        );
        refuse(
            batch.sequence_tokens > model.context_tokens,
            ["batch.sequence_tokens", "model."],
            &batch.sequence_tokens,
            format!("exceeds the model's context of {} tokens; lower it", model.context_tokens),
        );
        refuse(
            batch.micro_sequences.saturating_mul(batch.sequence_tokens) > bounds::MICRO_BATCH_TOKENS,
            ["batch.micro_sequences", "batch.sequence_tokens"],
            &batch.micro_sequences,
            format!("makes micro batches of more than {} tokens; lower it", bounds::MICRO_BATCH_TOKENS),
        );
        refuse(
            self.train.max_steps.saturating_mul(batch.global_sequences) > RUN_SEQUENCES,
            ["train.max_steps", "batch.global_sequences"],
            &self.train.max_steps,
            format!("consumes more than {RUN_SEQUENCES} sequences, {} a step; lower it", batch.global_sequences),
        );
        refuse(
            self.warmup_steps() >= self.decay_steps(),
            [
                "optimizer.warmup_steps",
                if optimizer.decay_steps.is_some() { "optimizer.decay_steps" } else { "train.max_steps" },
            ],
            &self.warmup_steps(),
            format!(
                "leaves no step to decay in before optimizer.decay_steps = {} (default: train.max_steps); lower it",
                self.decay_steps()
            ),
        );
        let (deadline, timeout) = (self.storage.deadline_s, self.parallel.timeout_s);
        let stall = self.launch.stall_timeout_s;
        refuse(
            deadline >= timeout,
            ["storage.deadline_s", "parallel.timeout_s"],
            &deadline,
            format!(
                "must be below parallel.timeout_s = {timeout}: time-outs nest, \
                 or a slow store would look like a lost rank"
            ),
        );
        refuse(
            timeout >= stall,
            ["parallel.timeout_s", "launch.stall_timeout_s"],
            &timeout,
            format!(
                "must be below launch.stall_timeout_s = {stall}: time-outs nest, \
                 or the launcher would kill a run that is about to say what is wrong"
            ),
        );
        faults
    }
}
