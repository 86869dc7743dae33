//! Decides whether a run may go on from a checkpoint with another config, by the rules in `common::config::change`.

use common::config::change::{DataIdentity, Difference, Rule, consent, differences};
use common::config::{ConfigChange, RawConfig};

use super::restore::Restored;
use crate::data::{DataSet, TrainingData, order};
use crate::error::JobError;
use crate::world::World;

/// Returns the identity of the data that a run trains on.
pub fn identity(data: &TrainingData) -> DataIdentity {
    // All data sets have the config's tokenizer.
    let tokenizer_hash = data.sets()[0].tokenizer_hash().to_owned();
    DataIdentity { tokenizer_hash, sequences: data.sets().iter().map(DataSet::sequences).sum() }
}

/// Refuses to resume if the state, or the place in the data, would get another meaning, or if the run would become
/// another experiment without consent. Returns all changes of the run so far, including those accepted now.
pub fn accept(world: &World, data: &DataIdentity, restored: &Restored) -> Result<Vec<ConfigChange>, JobError> {
    let (name, manifest) = (&restored.name, &restored.manifest);
    let saved = RawConfig::parse(&name.to_string(), &manifest.config, &[])?.run()?;
    let mut found = differences(&saved, &world.config);
    let of_checkpoint =
        DataIdentity { tokenizer_hash: manifest.tokenizer_hash.clone(), sequences: manifest.data_sequences };
    found.extend(of_checkpoint.differences(data));
    let (from, to) = (manifest.data_order.to_string(), order::VERSION.to_string());
    if from != to {
        found.push(Difference { key: "Convoy's order of the data".into(), from, to, rule: Rule::Refused });
    }
    let accepted = consent(&name.to_string(), found, &world.accepted_changes).map_err(JobError::RefusedChange)?;
    let (step, sequences_consumed, attempt) = (name.step, manifest.sequences_consumed, world.claim.number);
    let change = |Difference { key, from, to, .. }| ConfigChange { key, from, to, step, sequences_consumed, attempt };
    Ok(manifest.changes.iter().cloned().chain(accepted.into_iter().map(change)).collect())
}
