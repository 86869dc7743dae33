//! The parts of a run on a rank, and their set-up.

use std::sync::Arc;

use common::config::RunConfig;
use common::preflight::outlook;
use common::token_shard::check_rows;

use super::tasks::Tasks;
use super::validation::Validation;
use crate::collectives::bandwidth::Bandwidth;
use crate::data::{DataError, TokenStream, TrainingData};
use crate::error::JobError;
use crate::observe::observer::Observer;
use crate::observe::profile::Profile;
use crate::preflight;
use crate::saving::save::Saver;
use crate::step::results::Results;
use crate::step::state::TrainState;
use crate::world::World;

/// A run on a rank. Fields that come first are dropped first.
pub struct Run<'a> {
    /// Config, ranks and device of the run.
    pub(super) world: &'a World,
    /// Recorder of the run.
    pub(super) observer: &'a Observer,
    /// Results of the last steps.
    pub(super) results: Results,
    /// Trace of some steps.
    pub(super) profile: Profile,
    /// Token stream.
    pub(super) stream: TokenStream,
    /// Saver of the run's checkpoints.
    pub(super) saver: Saver<'a>,
    /// State that training changes.
    pub(super) state: TrainState,
    /// Validation data.
    pub(super) validation: Validation,
    /// Evaluation tasks.
    pub(super) tasks: Tasks,
    /// Whether a stop was asked for, and waits until updates are made again.
    pub(super) is_stop_put_off: bool,
}

impl<'a> Run<'a> {
    /// Opens the data, checks the hosts, restores the newest checkpoint or initialises a state, and agrees with the
    /// other ranks that all hold identical state. All ranks must call this together.
    pub fn set_up(world: &'a World, observer: &'a Observer) -> Result<Self, JobError> {
        let (config, ranks) = (&world.config, world.collectives.as_ref());
        let plan = config.batch_plan();
        let (seed, sequences) = (config.run.seed, plan.global_sequences);
        let data = TrainingData::open(&config.data, &config.storage, seed, sequences, plan.sequence_tokens)?;
        check_vocabulary(config, &data)?;
        let validation = Validation::open(config, ranks)?;
        let tasks = Tasks::open(config, ranks)?;
        tasks.announce(config, observer);
        outlook(config, &data.sizes(&config.data)).iter().for_each(|finding| observer.finding(finding));
        look_at_hosts(world, observer)?;

        let (rank, size) = (ranks.rank(), ranks.world_size());
        let mut state = TrainState::initialise(config, world.device, rank, size)?;
        let mut saver = Saver::open(world, &data, observer)?;
        saver.resume(&mut state, observer)?;
        let since = saver.order_since();
        let data = Arc::new(data.reordered(&config.data, seed, sequences, since));
        state.agree_on_start(ranks)?;

        let steps = config.train.max_steps.saturating_sub(state.step);
        let stream = TokenStream::train(data, plan, rank, size, state.consumed - since, steps);
        let profile = Profile::new(world)?;
        let results = Results::after(state.step, world.device);
        let is_stop_put_off = false;
        Ok(Run { world, observer, results, profile, stream, saver, state, validation, tasks, is_stop_put_off })
    }
}

/// Reports findings about the hosts, and how fast ranks exchange; refuses hosts that do not fit together.
fn look_at_hosts(world: &World, observer: &Observer) -> Result<(), JobError> {
    preflight::before_training(world)?.iter().for_each(|finding| observer.finding(finding));
    if let Some(bandwidth) = Bandwidth::measure(world.collectives.as_ref(), world.hosts, world.device)? {
        observer.bandwidth(bandwidth);
    }
    Ok(())
}

/// Every token of the data must have a row in the embedding.
fn check_vocabulary(config: &RunConfig, data: &TrainingData) -> Result<(), DataError> {
    let mut sets = data.sets().iter().zip(&config.data.train);
    sets.try_for_each(|(set, source)| Ok(check_rows(config.model.vocabulary, set.vocabulary(), &source.url)?))
}
