//! `worker bench-step`: the training step alone, on tokens made up on the spot. What `make bench` compares with peers.

use std::time::Instant;

use common::config::RunConfig;
use serde::Serialize;

use crate::collectives::{Collectives, Label};
use crate::error::JobError;
use crate::model::Batch;
use crate::train::state::TrainState;

/// Steps before the clock starts.
const WARM_UP_STEPS: u64 = 2;

/// What was measured.
#[derive(Debug, Serialize)]
pub struct StepTiming {
    /// Ranks that took part.
    pub ranks: u32,
    /// Steps that were timed.
    pub steps: u64,
    /// Tokens of the global batch per second, of the median step.
    pub tokens_per_second: f64,
    /// The median step.
    pub step_ms: f64,
    /// How long the median step waited for the exchange of gradients after its own work was done.
    pub exposed_comm_ms: f64,
}

/// Times `steps` training steps.
pub fn bench_step(config: &RunConfig, ranks: &dyn Collectives, steps: u64) -> Result<StepTiming, JobError> {
    let mut state = TrainState::initialise(config);
    let plan = config.batch_plan();
    let (mut step_ms, mut exposed_ms) = (Vec::new(), Vec::new());
    for step in 0..WARM_UP_STEPS + steps {
        let micro_batches: Vec<_> = plan.micro_batches(state.consumed, ranks.rank(), ranks.world_size()).collect();
        let batches = micro_batches.into_iter().map(|range| {
            let batch = (range.end - range.start) as usize;
            let token = |i: u64| (i.wrapping_mul(2_654_435_761) >> 7) % config.model.vocabulary;
            let tokens: Vec<i64> =
                (0..batch as u64 * (plan.sequence_tokens + 1)).map(|i| token(i + range.start) as i64).collect();
            Ok(Batch::new(&tokens, batch))
        });
        ranks.barrier(Label::new("the start of a step")).wait()?;
        let start = Instant::now();
        let outcome = state.step_on(ranks, batches)?;
        if step >= WARM_UP_STEPS {
            step_ms.push(start.elapsed().as_secs_f64() * 1e3);
            exposed_ms.push(outcome.exposed_comm.as_secs_f64() * 1e3);
        }
    }
    let step_ms = median(step_ms);
    Ok(StepTiming {
        ranks: ranks.world_size().get(),
        steps,
        tokens_per_second: plan.tokens_per_step() as f64 / step_ms * 1e3,
        step_ms,
        exposed_comm_ms: median(exposed_ms),
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
