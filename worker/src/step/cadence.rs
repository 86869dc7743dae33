//! What happens every N steps.

/// Whether something that happens every `every_steps` steps, 0 for never, happens after `step`.
pub fn is_due(every_steps: u64, step: u64) -> bool {
    every_steps > 0 && step.is_multiple_of(every_steps)
}
