//! Measures the token stream alone, without training.

use std::sync::Arc;
use std::time::Instant;

use common::config::RunConfig;
use serde::Serialize;
use tch::Tensor;

use crate::collectives::{Collectives, Label, ReduceOp};
use crate::data::{DataSet, TokenStream, TrainingData};
use crate::error::JobError;

/// Throughput of the token stream, over all ranks.
#[derive(Debug, Serialize)]
pub struct StreamTiming {
    /// Number of ranks that took part.
    pub ranks: u32,
    /// Number of tokens that the stream advanced by, T per sequence.
    pub tokens: i64,
    /// Time from the opened data sets to the last token, on the slowest rank.
    pub seconds: f64,
    /// Tokens per second.
    pub tokens_per_second: f64,
    /// Number of bytes read from the store and verified.
    pub bytes_read: i64,
    /// Sum of the token ids of all sequences, T+1 each. Two streams of the same sequences have equal checksums.
    pub checksum: i64,
}

/// Reads about `tokens_per_rank` tokens, in whole steps, from the start of the config's training data.
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
