//! A trace of some steps of every rank: `metrics.profile`, or `launcher train --profile FIRST..LAST`.

use std::ops::RangeInclusive;
use std::thread::JoinHandle;

use common::storage::{Folder, StorageError};

use super::observer::Observer;
use crate::error::JobError;
use crate::trace;
use crate::world::World;

/// Records the steps that the config names, and puts `profile/attempt-0001-rank-0.json` into the run folder.
pub struct Profile {
    steps: Option<RangeInclusive<u64>>,
    run: Folder,
    name: String,
    rank: u32,
    /// Thread that puts the trace, so that no step waits for it.
    put: Option<JoinHandle<Result<(), StorageError>>>,
}

/// Returns whether `step` is the last one before the `profiled` steps, or the last of them. Its results must be read
/// before the next step begins: a GPU's work in a step is recorded when the step is read.
pub fn begins_or_ends_after(profiled: Option<&RangeInclusive<u64>>, step: u64) -> bool {
    profiled.is_some_and(|steps| step + 1 == *steps.start() || step == *steps.end())
}

impl Profile {
    /// Creates the profile of this attempt.
    pub fn new(world: &World) -> Result<Self, JobError> {
        let rank = world.collectives.rank().0;
        Ok(Profile {
            steps: world.config.metrics.profile.clone(),
            run: Folder::open(&world.config.run.output, &world.config.storage)?,
            name: format!("profile/attempt-{:04}-rank-{rank}.json", world.claim.number),
            rank,
            put: None,
        })
    }

    /// Called when step `step` is about to begin.
    pub fn before_step(&mut self, step: u64, observer: &Observer) {
        if self.put.as_ref().is_some_and(JoinHandle::is_finished) {
            self.report(observer);
        }
        let Some(steps) = &self.steps else { return };
        if steps.contains(&step) {
            trace::start();
        } else if step > *steps.end() {
            self.begin_to_put(observer);
        }
    }

    /// Ends the profile at the end of the run: waits until the trace so far has been written.
    pub fn finish(&mut self, observer: &Observer) {
        self.begin_to_put(observer);
        self.report(observer);
    }

    /// Ends the recording, if it is still going on, and begins to write the trace.
    fn begin_to_put(&mut self, observer: &Observer) {
        if self.steps.take().is_none() || !trace::is_on() {
            return;
        }
        let (run, name, trace) = (self.run.clone(), self.name.clone(), trace::finish(self.rank));
        let thread = std::thread::Builder::new().name("trace".into()).spawn(move || run.put(&name, trace.into()));
        match thread {
            Ok(thread) => self.put = Some(thread),
            Err(error) => observer.trouble(format!("the trace could not be stored: {error}")),
        }
    }

    /// Reports whether the trace was stored. A trace that cannot be stored does not end the run.
    fn report(&mut self, observer: &Observer) {
        match self.put.take().map(JoinHandle::join) {
            Some(Ok(Ok(()))) => {
                observer.notice(format!("a trace for ui.perfetto.dev: {}", self.run.url_of(&self.name)));
            }
            Some(Ok(Err(error))) => observer.trouble(format!("the trace could not be stored: {error}")),
            // No trace was begun, or the panic has been reported.
            Some(Err(_)) | None => {}
        }
    }
}
