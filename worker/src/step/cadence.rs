//! Cadence of work that is done every N steps.

/// Returns whether work that is done every `every_steps` steps, 0 for never, is due after `step`.
pub fn is_due(every_steps: u64, step: u64) -> bool {
    every_steps > 0 && step.is_multiple_of(every_steps)
}
