//! The token stream alone, with nobody who trains on it.

use std::sync::Arc;
use std::time::Instant;

use common::config::RunConfig;
use serde::Serialize;
use tch::Tensor;

use crate::collectives::{Collectives, Label, ReduceOp};
use crate::data::{DataSet, TokenStream, TrainingData};
use crate::error::JobError;

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
