//! Measures saving and restoring alone, with checkpoints of a state that was never trained.

use std::time::{Duration, Instant};

use common::attempt::Claim;
use common::clock::unix_s;
use common::config::Retention;
use common::config::RunConfig;
use common::random::random_hex;
use common::storage::Folder;
use common::topology::Rank;
use serde::Serialize;
use tch::{Device, Tensor};

use super::median;
use crate::checkpoint::{self, ManifestHeader};
use crate::collectives::{Collectives, Label, ReduceOp};
use crate::error::JobError;
use crate::libtorch::random::Random;
use crate::observe::memory::{peak_memory_bytes, reset_peak_memory};
use crate::saving::restore::{Places, restore_newest};
use crate::saving::snapshot::{Snapshots, shapes};
use crate::step::state::TrainState;

/// Timings of saving and restoring: medians over the saves, each of its slowest rank.
#[derive(Debug, Serialize)]
pub struct CheckpointTiming {
    /// Number of ranks that took part.
    pub ranks: u32,
    /// Size of the weights and the moments, in bytes, over all ranks.
    pub bytes: u64,
    /// Time that a step would have stood still, in milliseconds.
    pub stall_ms: f64,
    /// Time from the start of the copy until the checkpoint was committed.
    pub save_seconds: f64,
    /// Time from reading the manifest until every rank had the state.
    pub restore_seconds: f64,
    /// Host memory that the save took on the rank that needed most, as a multiple of an even share of the bytes.
    pub extra_memory: f64,
}

/// Saves the state of `config`'s model `saves` times into its run folder, and restores the last checkpoint as often.
pub fn bench_checkpoint(
    config: &RunConfig,
    device: Device,
    ranks: &dyn Collectives,
    saves: u64,
) -> Result<CheckpointTiming, JobError> {
    let mut state = TrainState::initialise(config, device, ranks.rank(), ranks.world_size())?;
    let random = Random::seeded(config.run.seed);
    for part in state.optimizer.parts(&state.model.layout) {
        [part.exp_avg, part.exp_avg_sq].iter_mut().for_each(|moment| random.fill_uniform(moment));
    }
    let run = Folder::open(&config.run.output, &config.storage)?;
    let bytes = 12 * shapes(&state.model).iter().map(|p| p.elements()).sum::<u64>();
    let slowest = |duration: Duration| -> Result<f64, JobError> {
        let seconds = Tensor::from_slice(&[duration.as_secs_f64()]);
        ranks.all_reduce(&seconds, ReduceOp::Max, Label::new("the time")).wait()?;
        Ok(seconds.double_value(&[0]))
    };
    let memory_before = reset_peak_memory();
    let mut snapshots = Snapshots::default();
    let (mut stalls, mut saved, mut restored) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..saves {
        state.step += 1;
        ranks.barrier(Label::new("the start of a save")).wait()?;
        let start = Instant::now();
        let stall = save(&mut state, &mut snapshots, config, &run, ranks)?;
        stalls.push(slowest(stall)? * 1e3);
        saved.push(slowest(start.elapsed())?);
        if ranks.rank() == Rank::ZERO {
            let keep_one = Retention { keep_last: 1, keep_every_steps: 0 };
            checkpoint::prune(&run, &keep_one, None, unix_s())?;
        }
    }
    let taken = peak_memory_bytes(Device::Cpu).saturating_sub(memory_before);
    for _ in 0..saves {
        ranks.barrier(Label::new("the start of a restore")).wait()?;
        let start = Instant::now();
        restore_newest(&mut state, &Places { run: &run, host: None }, (config.checkpoint.on_corrupt, u64::MAX), ranks)?;
        restored.push(slowest(start.elapsed())?);
    }
    Ok(CheckpointTiming {
        ranks: ranks.world_size().get(),
        bytes,
        stall_ms: median(stalls),
        save_seconds: median(saved),
        restore_seconds: median(restored),
        extra_memory: taken as f64 * f64::from(ranks.world_size().get()) / bytes as f64,
    })
}

/// Makes one save, from the copy to the commit. Returns how long the copy took.
fn save(
    state: &mut TrainState,
    snapshots: &mut Snapshots,
    config: &RunConfig,
    run: &Folder,
    ranks: &dyn Collectives,
) -> Result<Duration, JobError> {
    let start = Instant::now();
    let snapshot = snapshots.take(state, ranks)?;
    let stall = start.elapsed();
    // Nobody has claimed what is only measured.
    let claim = Claim { number: 1, id: random_hex() };
    let name = ranks.share("a checkpoint's name", || Ok::<_, JobError>(checkpoint::new_name(state.step, &claim)))?;
    let folder = checkpoint::folder_of(run, &name);
    let written = checkpoint::write_rank(&folder, snapshot, config.checkpoint.max_upload_bytes_per_s)?;
    let gathered = ranks.gather("its part of a save", &written)?;
    if ranks.rank() == Rank::ZERO {
        let header = ManifestHeader {
            name,
            sequences_consumed: state.consumed,
            updates: state.optimizer.updates(),
            grad_norms: Vec::new(),
            skipped_in_a_row: 0,
            changes: Vec::new(),
            world_size: ranks.world_size(),
            tokenizer_hash: String::new(),
            data_sequences: 0,
            data_order: crate::data::order::VERSION,
            config: config.to_toml(),
            model: config.model.clone(),
        };
        checkpoint::commit(&folder, header, gathered)?;
    }
    ranks.barrier(Label::new("the commit")).wait()?;
    Ok(stall)
}
