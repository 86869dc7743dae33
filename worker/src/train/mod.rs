//! Training: the loop.
//!
//! - [`state`]: everything that training changes, and one step of it.
//! - [`upload`], [`readback`]: tokens on their way to the device, results on their way back.
//! - [`timeline`]: where a step's time goes.
//! - [`agree`]: what the ranks tell each other in every step.
//! - [`communication`]: whether they wait for each other too long.
//! - [`save`]: checkpoints in the background, and resuming from them.
//! - [`snapshot`], [`restore`], [`parts`]: from the tensors of a run to what a checkpoint holds of them, and back.
//! - [`changes`]: whether it may go on with another config.
//! - [`observe`]: metrics, events, and what a person sees.
//! - [`verify`]: whether all ranks hold the same state.
//! - [`profile`]: a trace of some steps.

pub mod agree;
pub mod changes;
pub mod communication;
pub mod observe;
mod parts;
pub mod profile;
pub mod readback;
pub mod restore;
pub mod save;
pub mod snapshot;
pub mod state;
pub mod timeline;
pub mod upload;
pub mod verify;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use common::config::RunConfig;
use common::worker_contract::{ExitCode, Phase};

use crate::collectives::bandwidth::Bandwidth;
use crate::data::{TokenStream, TrainingData};
use crate::error::JobError;
use crate::evaluate::Validation;
use crate::preflight;
use crate::world::{self, World};

use agree::Agreement;
use observe::Observer;
use profile::Profile;
use save::Saver;
use state::TrainState;

/// Trains until `train.max_steps` or until asked to stop, resuming from the newest checkpoint of the run.
pub fn train(world: &World) -> Result<ExitCode, JobError> {
    let observer = Observer::start(world)?;
    let result = train_observed(world, &observer);
    if let Err(error) = &result {
        // Before anything is dropped: the last records may have to wait for storage, and the cause must not.
        world::announce_failure(&error.to_string(), error.exit_code());
    }
    result
}

fn train_observed(world: &World, observer: &Observer) -> Result<ExitCode, JobError> {
    let World { config, control, .. } = world;
    let ranks = world.collectives.as_ref();
    let plan = config.batch_plan();
    let (seed, sequences) = (config.run.seed, plan.global_sequences);
    let data = TrainingData::open(&config.data, &config.storage, seed, sequences, plan.sequence_tokens)?;
    check_vocabulary(config, &data)?;
    let validation = Validation::open(config, ranks)?;
    let (rank, size) = (ranks.rank(), ranks.world_size());
    for finding in preflight::before_training(world)? {
        observer.notice(format!("{}: {}", finding.subject, finding.text));
    }
    if let Some(bandwidth) = Bandwidth::measure(ranks, world.hosts, world.device)? {
        observer.bandwidth(bandwidth);
    }
    let mut state = TrainState::initialise(config, world.device, rank, size)?;
    let mut saver = Saver::open(world, &data)?;
    saver.resume(&mut state, observer)?;
    let since = saver.order_since();
    let data = Arc::new(data.reordered(&config.data, seed, sequences, since));
    state.agree_on_start(ranks)?;

    let steps = config.train.max_steps.saturating_sub(state.step);
    let mut stream = TokenStream::train(data, plan, rank, size, state.consumed - since, steps);
    let mut profile = Profile::new(world)?;
    let mut unread = VecDeque::new();
    let (mut last_read, mut steps_read) = (Instant::now(), state.step);
    let (mut stop, mut is_stop_put_off) = (false, false);
    while state.step < config.train.max_steps && !stop {
        control.report(state.step, Phase::Training);
        profile.before_step(state.step + 1, observer);
        let start = Instant::now();
        let accumulated = state.accumulate(ranks, &mut stream)?;
        let agreement = Agreement::begin(world, &saver);
        let outcome = state.update(ranks, accumulated)?;
        let agreed = agreement.finish()?;
        unread.push_back((outcome, start));
        let is_last = state.step == config.train.max_steps;
        let due = saver.due(state.step, &agreed);
        let evaluates = is_due(config.evaluation.every_steps, state.step) || is_last;
        // A GPU's results are read while it works on the next step; what a person asks for, a save and the end wait for them.
        let is_needed = due.is_some()
            || evaluates
            || agreed.stop
            || profile.begins_or_ends_after(state.step)
            || !world.device.is_cuda();
        while unread.len() > usize::from(!is_needed) {
            let Some((outcome, start)) = unread.pop_front() else { break };
            let report = outcome.read()?;
            ranks.check()?;
            outcome.verify(&state, ranks)?;
            // On a GPU the step before has ended after this one was begun.
            let elapsed = start.max(last_read).elapsed();
            last_read = Instant::now();
            observer.step(&report, elapsed);
            state.judge(&report)?;
            steps_read = report.step;
        }
        let is_skipping = state.skipped_in_a_row > 0;
        if evaluates {
            validation.measure(&mut state, world, observer)?;
        }
        saver.follow(agreed.save_is_busy, steps_read, is_skipping, observer)?;
        // What is saved while updates are skipped would have what led to that, so a save and a stop wait until one is made again: a
        // few steps, or the run ends.
        stop = agreed.stop && !is_skipping;
        match due {
            Some(tier) if is_skipping && !is_last => saver.put_off(state.step, tier, observer),
            Some(tier) => saver.begin(&mut state, tier, agreed.save, observer)?,
            None => {}
        }
        if agreed.stop && !stop && !is_last && !is_stop_put_off {
            is_stop_put_off = true;
            observer.notice(format!("step {}: the stop waits until updates are made again", state.step));
        }
    }
    profile.finish(observer);
    control.report(state.step, Phase::Saving);
    saver.finish(&mut state, observer)?;
    if steps == 0 {
        observer.notice(format!("the run was complete already, at step {}", state.step));
        validation.measure(&mut state, world, observer)?;
    }
    Ok(if state.step < config.train.max_steps { ExitCode::Stopped } else { ExitCode::Done })
}

/// Every token of the data must have a row in the embedding.
fn check_vocabulary(config: &RunConfig, data: &TrainingData) -> Result<(), JobError> {
    let rows = config.model.vocabulary;
    for (set, source) in data.sets().iter().zip(&config.data.train) {
        let ids = u64::from(set.vocabulary());
        if rows < ids {
            return Err(JobError::Usage(format!(
                "model.vocabulary = {rows} is less than the {ids} tokens of {}'s tokenizer; give at least {ids}",
                source.url
            )));
        }
    }
    Ok(())
}

/// Whether something that happens after every so many steps, 0 for never, happens after `step`.
pub(crate) fn is_due(every_steps: u64, step: u64) -> bool {
    every_steps > 0 && step.is_multiple_of(every_steps)
}
