//! Measures the training step alone, on made-up tokens.

use std::time::{Duration, Instant};

use common::config::RunConfig;
use common::cost::Memory;
use serde::Serialize;
use tch::Device;

use super::median;
use crate::collectives::Collectives;
use crate::error::JobError;
use crate::observe::memory::peak_memory_bytes;
use crate::step::cost::step_cost;
use crate::step::results::Results;
use crate::step::state::TrainState;
use crate::step::timeline::{Phases, Timeline};

/// Number of steps before the clock starts.
const WARM_UP_STEPS: u64 = 2;

/// Timings of a training step: medians over the steps.
#[derive(Debug, Serialize)]
pub struct StepTiming {
    /// Number of ranks that took part.
    pub ranks: u32,
    /// Number of steps that were timed.
    pub steps: u64,
    /// Tokens of the global batch per second, at the median step time.
    pub tokens_per_second: f64,
    /// Time of a whole step.
    pub step_ms: f64,
    /// Time that this thread took to queue a step for a GPU. On a CPU it is about the whole step.
    pub queued_ms: f64,
    /// Time of the forward pass.
    pub forward_ms: f64,
    /// Time of the loss and backward.
    pub backward_ms: f64,
    /// Time spent waiting for the exchange of gradients or weights.
    pub exposed_comm_ms: f64,
    /// Time of the norm, clipping and the update.
    pub optimizer_ms: f64,
    /// Peak memory of this process in bytes: on its GPU, or resident on the host.
    pub peak_memory_bytes: u64,
    /// Memory that `common::cost` expects, by item, without the program itself and, on the host, its libraries.
    pub expected_memory: Memory,
}

/// Times `steps` training steps.
pub fn bench_step(
    config: &RunConfig,
    device: Device,
    ranks: &dyn Collectives,
    steps: u64,
) -> Result<StepTiming, JobError> {
    let mut state = TrainState::initialise(config, device, ranks.rank(), ranks.world_size())?;
    let plan = config.batch_plan();
    let mut timed: Vec<(Duration, Phases)> = Vec::new();
    let mut queued = Vec::new();
    let mut results = Results::after(state.step, device);
    // As in training, a GPU's results are read while it works on the next step, so one step more runs than is timed.
    let ahead = usize::from(device.is_cuda());
    for _ in 0..WARM_UP_STEPS as usize + steps as usize + ahead {
        let micro_batches: Vec<_> = plan.micro_batches(state.consumed, ranks.rank(), ranks.world_size()).collect();
        let mut ranges = micro_batches.iter();
        let next = |_: &mut Timeline| {
            let range = ranges.next().cloned().unwrap_or_default();
            let token = |i: u64| (i.wrapping_mul(2_654_435_761) >> 7) % config.model.vocabulary;
            let sequences = range.end - range.start;
            let tokens = (0..sequences * (plan.sequence_tokens + 1)).map(|i| token(i + range.start) as i32).collect();
            Ok((tokens, sequences as usize))
        };
        let start = Instant::now();
        let accumulated = state.accumulate_on(ranks, micro_batches.len(), next)?;
        results.add(state.update(ranks, accumulated)?, start);
        queued.push(start.elapsed().as_secs_f64() * 1e3);
        while let Some((report, elapsed)) = results.read(false, &state, ranks)? {
            timed.push((elapsed, report.phases));
        }
    }
    timed.drain(..WARM_UP_STEPS as usize);
    queued.drain(..WARM_UP_STEPS as usize);
    state.weights_are_here()?;
    let milliseconds =
        |of: fn(&(Duration, Phases)) -> Duration| median(timed.iter().map(|t| of(t).as_secs_f64() * 1e3).collect());
    let step_ms = milliseconds(|t| t.0);
    Ok(StepTiming {
        ranks: ranks.world_size().get(),
        steps,
        tokens_per_second: plan.tokens_per_step() as f64 / step_ms * 1e3,
        step_ms,
        queued_ms: median(queued),
        forward_ms: milliseconds(|t| t.1.forward),
        backward_ms: milliseconds(|t| t.1.backward),
        exposed_comm_ms: milliseconds(|t| t.1.exposed_comm),
        optimizer_ms: milliseconds(|t| t.1.optimizer),
        peak_memory_bytes: peak_memory_bytes(device),
        expected_memory: step_cost(config, ranks.world_size(), device).memory(),
    })
}
