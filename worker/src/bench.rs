//! What `make bench` compares with peers: `worker bench-step`, the training step alone, on tokens made up on the spot; and
//! `worker bench-stream`, the token stream alone, with nobody who trains on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::config::RunConfig;
use common::cost::Memory;
use serde::Serialize;
use tch::{Device, Tensor};

use crate::collectives::{Collectives, Label, ReduceOp};
use crate::data::{DataSet, TokenStream, TrainingData};
use crate::error::JobError;
use crate::train::observe::peak_memory_bytes;
use crate::train::state::TrainState;
use crate::train::timeline::{Phases, Timeline};

/// Steps before the clock starts.
const WARM_UP_STEPS: u64 = 2;

/// What was measured: medians over the steps.
#[derive(Debug, Serialize)]
pub struct StepTiming {
    /// Ranks that took part.
    pub ranks: u32,
    /// Steps that were timed.
    pub steps: u64,
    /// Tokens of the global batch per second, of the median step.
    pub tokens_per_second: f64,
    /// A whole step.
    pub step_ms: f64,
    /// Forward.
    pub forward_ms: f64,
    /// Loss and backward.
    pub backward_ms: f64,
    /// Waiting for the exchange of gradients or weights.
    pub exposed_comm_ms: f64,
    /// Norm, clipping and update.
    pub optimizer_ms: f64,
    /// The most memory that this process has taken: on its GPU, or resident on the host.
    pub peak_memory_bytes: u64,
    /// What `common::cost` expects of it, by item; beside the program itself, and on the host its libraries' own.
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
    for step in 0..WARM_UP_STEPS + steps {
        let micro_batches: Vec<_> = plan.micro_batches(state.consumed, ranks.rank(), ranks.world_size()).collect();
        let mut ranges = micro_batches.iter();
        let next = |_: &mut Timeline| {
            let range = ranges.next().cloned().unwrap_or_default();
            let token = |i: u64| (i.wrapping_mul(2_654_435_761) >> 7) % config.model.vocabulary;
            let sequences = range.end - range.start;
            let tokens = (0..sequences * (plan.sequence_tokens + 1)).map(|i| token(i + range.start) as i32).collect();
            Ok((tokens, sequences as usize))
        };
        ranks.barrier(Label::new("the start of a step")).wait()?;
        let start = Instant::now();
        let accumulated = state.accumulate_on(ranks, micro_batches.len(), next)?;
        let report = state.update(ranks, accumulated)?.read()?;
        // What is still under way belongs to the next step's forward, as in training.
        if step >= WARM_UP_STEPS {
            timed.push((start.elapsed(), report.phases));
        }
    }
    state.weights_are_here()?;
    let milliseconds =
        |of: fn(&(Duration, Phases)) -> Duration| median(timed.iter().map(|t| of(t).as_secs_f64() * 1e3).collect());
    let step_ms = milliseconds(|t| t.0);
    Ok(StepTiming {
        ranks: ranks.world_size().get(),
        steps,
        tokens_per_second: plan.tokens_per_step() as f64 / step_ms * 1e3,
        step_ms,
        forward_ms: milliseconds(|t| t.1.forward),
        backward_ms: milliseconds(|t| t.1.backward),
        exposed_comm_ms: milliseconds(|t| t.1.exposed_comm),
        optimizer_ms: milliseconds(|t| t.1.optimizer),
        peak_memory_bytes: peak_memory_bytes(device),
        expected_memory: state.cost(config, ranks.world_size()).memory(),
    })
}

/// What was streamed, over all ranks.
#[derive(Debug, Serialize)]
pub struct StreamTiming {
    /// Ranks that took part.
    pub ranks: u32,
    /// Tokens that the sequences advance by, T each.
    pub tokens: i64,
    /// From the opened data sets to the last token, on the slowest rank.
    pub seconds: f64,
    /// Tokens per second.
    pub tokens_per_second: f64,
    /// Bytes read from the store and verified.
    pub bytes_read: i64,
    /// The sum of the ids of all sequences, T+1 each: whoever reads the same sequences has the same.
    pub checksum: i64,
}

/// Takes about `tokens_per_rank` tokens, whole steps of them, from the start of the config's training data.
pub fn bench_stream(
    config: &RunConfig,
    ranks: &dyn Collectives,
    tokens_per_rank: u64,
) -> Result<StreamTiming, JobError> {
    let (plan, rank, world) = (config.batch_plan(), ranks.rank(), ranks.world_size());
    let (seed, sequences) = (config.run.seed, plan.global_sequences);
    let data = TrainingData::open(&config.data, &config.storage, seed, sequences, plan.sequence_tokens)?;
    let data = Arc::new(data);
    let steps = (tokens_per_rank * u64::from(world.get())).div_ceil(plan.tokens_per_step());
    ranks.barrier(Label::new("the start of the stream")).wait()?;
    let start = Instant::now();
    let mut stream = TokenStream::train(data.clone(), plan, rank, world, 0, steps);
    let mut checksum: i64 = 0;
    for _ in (0..steps).flat_map(|step| plan.micro_batches(step * sequences, rank, world)) {
        checksum += stream.next()?.tokens.iter().map(|token| i64::from(*token)).sum::<i64>();
    }
    let seconds = Tensor::from_slice(&[start.elapsed().as_secs_f64()]);
    let bytes_read: u64 = data.sets().iter().map(DataSet::bytes_read).sum();
    let sums = Tensor::from_slice(&[bytes_read as i64, checksum]);
    ranks.all_reduce(&seconds, ReduceOp::Max, Label::new("the time")).wait()?;
    ranks.all_reduce(&sums, ReduceOp::Sum, Label::new("the checksum")).wait()?;
    let (tokens, seconds) = ((steps * plan.tokens_per_step()) as i64, seconds.double_value(&[0]));
    Ok(StreamTiming {
        ranks: world.get(),
        tokens,
        seconds,
        tokens_per_second: tokens as f64 / seconds,
        bytes_read: sums.int64_value(&[0]),
        checksum: sums.int64_value(&[1]),
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
