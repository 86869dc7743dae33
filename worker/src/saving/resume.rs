//! Resumes a run from its newest checkpoint, if the config allows that.

use common::attempt;
use common::config::change::order_since;
use common::figures::counted;
use common::start;

use super::changes::accept;
use super::restore::{Places, Restored, restore_newest};
use super::save::Saver;
use crate::checkpoint::{HostFolder, Tier};
use crate::error::JobError;
use crate::observe::observer::Observer;
use crate::step::state::TrainState;

impl Saver<'_> {
    /// Puts the newest checkpoint that every rank can read into `state`; leaves the state alone if there is none.
    pub fn resume(&mut self, state: &mut TrainState, observer: &Observer) -> Result<(), JobError> {
        let (config, ranks) = (&self.world.config, self.world.collectives.as_ref());
        let places = Places { run: &self.run, host: self.host.as_ref() };
        let restored = restore_newest(state, &places, (config.checkpoint.on_corrupt, config.train.max_steps), ranks)?;
        if let Some(restored) = &restored {
            restored.skipped.iter().for_each(|reason| observer.trouble(format!("skipped a checkpoint: {reason}")));
            self.changes = accept(self.world, &self.data, restored)?;
        }
        // From here on, nothing that an older attempt may still commit above this step counts.
        if ranks.rank().is_zero() {
            if restored.is_none() {
                start::refuse_if_lost(&self.run, self.world.claim.number)?;
            }
            attempt::record_start(&self.run, &self.world.claim, restored.as_ref().map(|restored| &restored.name))?;
            // Only now: a config that was refused above is not the run's config.
            self.run.put("config.toml", self.world.config.to_stored_toml().into())?;
        }
        if let Some(Err(error)) = self.host.as_ref().map(HostFolder::forget_other_worlds) {
            tracing::warn!("what other world sizes have left in checkpoint.local_dir stays: {error}");
        }
        let Some(Restored { name, tier, manifest, .. }) = restored else { return Ok(()) };
        let new_changes = self.changes.iter().filter(|change| change.attempt == self.world.claim.number);
        new_changes.for_each(|change| {
            observer.notice(format!("accepted: {} was {} and is now {}", change.key, change.from, change.to));
        });
        state.norms.restore(&manifest.grad_norms);
        state.skipped_in_a_row = manifest.skipped_in_a_row;
        state.step = name.step;
        state.consumed = manifest.sequences_consumed;
        self.saved_step = (tier == Tier::Run).then_some(name.step);
        observer.begin_at(state.step, state.tokens());
        let place = if tier == Tier::Hosts { " in checkpoint.local_dir" } else { "" };
        let ranks = counted(manifest.world_size.into(), "rank");
        observer.notice(format!("resumed from {name}{place}, saved by {ranks}"));
        Ok(())
    }

    /// Returns the number of sequences that had been consumed when the present order of the data began.
    pub fn order_since(&self) -> u64 {
        order_since(&self.changes)
    }
}
