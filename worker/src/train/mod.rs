//! Training: the loop.
//!
//! - this file: the loop from the first step to the last, or to a stop.
//! - `run`: the parts of a run, and its set-up.
//! - [`mod@due`]: decides what follows a step.
//! - [`validation`]: the validation loss. [`tasks`]: evaluation tasks.
//!
//! A step itself is in [`crate::step`], checkpoints in [`crate::saving`], and records in [`crate::observe`]; none of
//! them knows the loop.

pub mod due;
mod run;
pub mod tasks;
pub mod validation;

use std::time::Instant;

use common::exit_code::ExitCode;
use common::worker_contract::Phase;

use crate::error::JobError;
use crate::observe::observer::Observer;
use crate::step::agreement::{Agreement, Flags};
use crate::world::{self, World};

use due::{Due, due};
use run::Run;

/// Trains until `train.max_steps` or until asked to stop, resuming from the newest checkpoint of the run.
pub fn train(world: &World) -> Result<ExitCode, JobError> {
    let observer = Observer::start(world)?;
    let result = Run::set_up(world, &observer).and_then(|mut run| run.train());
    if let Err(error) = &result {
        // Before anything is dropped: the last records may have to wait for storage, and the cause must not.
        world::announce_failure(&error.to_string(), error.exit_code());
    }
    result
}

impl Run<'_> {
    /// Runs the loop: from the state's step to `train.max_steps`, or to a stop.
    fn train(&mut self) -> Result<ExitCode, JobError> {
        let (world, observer) = (self.world, self.observer);
        let (config, ranks) = (&world.config, world.collectives.as_ref());
        let is_complete = self.state.step >= config.train.max_steps;
        while self.state.step < config.train.max_steps {
            world.control.report(self.state.step, Phase::Training);
            self.profile.before_step(self.state.step + 1, observer);
            let start = Instant::now();
            let accumulated = self.state.accumulate(ranks, &mut self.stream, &world.control)?;
            let agreement = Agreement::begin(&self.flags(), ranks);
            let outcome = self.state.update(ranks, accumulated)?;
            let agreed = agreement.finish()?;
            self.results.add(outcome, start);
            let mut due = due(config, self.state.step, &agreed, &self.saver.standing());
            self.report(due.results)?;
            if due.validation {
                self.validation.measure(&mut self.state, world, observer)?;
            }
            if due.tasks {
                due.stop |= self.tasks.measure(&mut self.state, world, observer)?;
            }
            self.saver.follow(agreed.save_is_busy, self.results.step(), self.state.is_skipping(), observer)?;
            self.save_if_due(&due, agreed.save)?;
            if self.stops(&due) {
                break;
            }
        }
        self.finish(is_complete)
    }

    /// Returns the flags of this rank: the requests to it, and whether it is busy with a save.
    fn flags(&self) -> Flags {
        let (requests, saver) = (&self.world.requests, &self.saver);
        // Taken in any case; otherwise the request would come back.
        let is_asked = requests.take_save();
        Flags {
            save: is_asked || saver.is_time(),
            save_on_hosts: saver.is_time_on_hosts(),
            stop: requests.wants_stop(),
            save_is_busy: saver.is_busy(),
        }
    }

    /// Records and judges the results that have arrived, or all results if they are needed now.
    fn report(&mut self, is_needed: bool) -> Result<(), JobError> {
        let ranks = self.world.collectives.as_ref();
        while let Some((report, elapsed)) = self.results.read(is_needed, &self.state, ranks)? {
            self.observer.step(&report, elapsed);
            self.state.judge(&report)?;
        }
        Ok(())
    }

    /// Begins a save that is due, `is_asked` for or not, or puts it off.
    fn save_if_due(&mut self, due: &Due, is_asked: bool) -> Result<(), JobError> {
        match due.save {
            Some(tier) if due.waits(self.state.is_skipping()) => {
                self.saver.put_off(self.state.step, tier, self.observer);
                Ok(())
            }
            Some(tier) => self.saver.begin(&mut self.state, tier, is_asked, self.observer),
            None => Ok(()),
        }
    }

    /// Returns whether the run stops now. Reports, once, a stop that waits.
    fn stops(&mut self, due: &Due) -> bool {
        let waits = due.waits(self.state.is_skipping());
        if due.stop && waits && !std::mem::replace(&mut self.is_stop_put_off, true) {
            let text = format!("step {}: the stop waits until updates are made again", self.state.step);
            self.observer.notice(text);
        }
        due.stop && !waits
    }

    /// Ends the run with a checkpoint. A run that `is_complete` already has no step to report, so it measures the
    /// validation loss, and scores the tasks.
    fn finish(&mut self, is_complete: bool) -> Result<ExitCode, JobError> {
        let (world, observer) = (self.world, self.observer);
        self.profile.finish(observer);
        world.control.report(self.state.step, Phase::Saving);
        self.saver.finish(&mut self.state, observer)?;
        if is_complete {
            observer.notice(format!("the run was complete already, at step {}", self.state.step));
            self.validation.measure(&mut self.state, world, observer)?;
            self.tasks.measure(&mut self.state, world, observer)?;
        }
        Ok(if self.state.step < world.config.train.max_steps { ExitCode::Stopped } else { ExitCode::Done })
    }
}
