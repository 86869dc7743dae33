//! The steps in which the ranks' state is compared, and the parts of it that are.

use common::topology::WorldSize;

use super::cadence::is_due;
use super::state::TrainState;
use super::verify::{Comparison, Replica};
use crate::collectives::Collectives;
use crate::error::JobError;

impl TrainState {
    /// Fails on every rank, and names the ranks that differ, unless all begin with identical state at the same place
    /// in the data.
    pub fn agree_on_start(&self, ranks: &dyn Collectives) -> Result<(), JobError> {
        self.verify(ranks)?;
        ranks.agree_same(self.consumed, "the place in the data")?;
        Ok(())
    }

    /// Makes the next step verify the state that it begins with, which is being saved.
    pub fn verify_in_next_step(&mut self) {
        self.is_saved = true;
    }

    /// Verifies the state now, because no step follows.
    pub fn verify_at_end(&mut self, ranks: &dyn Collectives) -> Result<(), JobError> {
        self.weights_are_here()?;
        if self.verify_every_steps > 0 { self.verify(ranks) } else { Ok(()) }
    }

    fn verify(&self, ranks: &dyn Collectives) -> Result<(), JobError> {
        match ranks.world_size() {
            WorldSize::ONE => Ok(()),
            _ => Comparison::begin(&self.replicas(), ranks).arrive()?.check(self.step, || self.replica_names(), ranks),
        }
    }

    /// Returns whether this step verifies the state that it begins with; all ranks get the same answer.
    pub(super) fn is_verified_now(&mut self, world: WorldSize) -> bool {
        let is_saved = std::mem::take(&mut self.is_saved);
        let every = self.verify_every_steps;
        world != WorldSize::ONE && (is_due(every, self.step) || (is_saved && every > 0))
    }

    /// Returns the state that must be identical on every rank: the model's weights, and the optimizer's state unless
    /// it is divided.
    pub(super) fn replicas(&self) -> Vec<Replica> {
        let parameters = &self.model.layout.parameters;
        let weights = parameters.iter().map(|parameter| Replica {
            name: parameter.name.clone(),
            values: self.model.flat.narrow(0, parameter.start as i64, parameter.padded_elements as i64),
        });
        let parts = if self.is_divided() { Vec::new() } else { self.optimizer.parts(&self.model.layout) };
        let has_master = self.optimizer.master(0).is_some();
        let of_optimizer = parts.into_iter().flat_map(|part| {
            let name = &parameters[part.parameter].name;
            let replica = |what: &str, values| Replica { name: format!("{what} of {name}"), values };
            let moments = [replica("exp_avg", part.exp_avg), replica("exp_avg_sq", part.exp_avg_sq)];
            moments.into_iter().chain(has_master.then(|| replica("float32 weights", part.master)))
        });
        weights.chain(of_optimizer).collect()
    }

    pub(super) fn replica_names(&self) -> Vec<String> {
        self.replicas().into_iter().map(|replica| replica.name).collect()
    }
}
