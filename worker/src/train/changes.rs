//! Whether a run may go on from a checkpoint with another config: `common::config::change` has the rules.

use common::config::change::{Difference, Rule, differences};
use common::config::{ConfigChange, RawConfig};

use super::restore::Restored;
use crate::data::{DataSet, TrainingData, order};
use crate::error::JobError;
use crate::world::World;

/// What the order of training sequences depends on, beside the config.
pub struct DataIdentity {
    /// Of the tokenizer that made the shards.
    pub tokenizer_hash: String,
    /// Of all data sets.
    pub sequences: u64,
}

impl DataIdentity {
    /// Of the data that a run trains on.
    pub fn of(data: &TrainingData) -> Self {
        // All data sets have the tokenizer of the config.
        let tokenizer_hash = data.sets()[0].tokenizer_hash().to_owned();
        DataIdentity { tokenizer_hash, sequences: data.sets().iter().map(DataSet::sequences).sum() }
    }
}

/// Refuses to resume where the state, or the place in the data, would mean something else, and where the run would become
/// another experiment without consent. All changes of the run so far, those accepted now among them.
pub fn accept(world: &World, data: &DataIdentity, restored: &Restored) -> Result<Vec<ConfigChange>, JobError> {
    let (name, manifest) = (&restored.name, &restored.manifest);
    let saved = RawConfig::parse(&name.to_string(), &manifest.config, &[])?.run()?;
    let mut found = differences(&saved, &world.config);
    let identity = [
        ("data.train's tokenizer hash", manifest.tokenizer_hash.clone(), data.tokenizer_hash.clone()),
        ("Convoy's order of the data", manifest.data_order.to_string(), order::VERSION.to_string()),
        ("data.train's sequences", manifest.data_sequences.to_string(), data.sequences.to_string()),
    ];
    let of_data = identity.into_iter().filter(|(_, from, to)| from != to);
    found.extend(of_data.map(|(key, from, to)| Difference { key: key.into(), from, to, rule: Rule::Refused }));
    let is_accepted = |d: &Difference| d.rule == Rule::Consent && world.accepted_changes.contains(&d.key);
    let (accepted, unaccepted): (Vec<_>, Vec<_>) = found.into_iter().partition(is_accepted);
    if !unaccepted.is_empty() {
        let lines: Vec<_> = unaccepted.iter().map(in_words).collect();
        let message = format!("{name} cannot be resumed with this config:\n  {}", lines.join("\n  "));
        return Err(JobError::Usage(message));
    }
    let (step, sequences_consumed, attempt) = (name.step, manifest.sequences_consumed, world.claim.number);
    let change = |Difference { key, from, to, .. }| ConfigChange { key, from, to, step, sequences_consumed, attempt };
    Ok(manifest.changes.iter().cloned().chain(accepted.into_iter().map(change)).collect())
}

/// What differs, and what to do about it.
fn in_words(difference: &Difference) -> String {
    let Difference { key, from, to, rule } = difference;
    let advice = match rule {
        Rule::Consent => format!("give --accept-change {key} if that is meant, or {key} = {from}"),
        _ => "this cannot change in the middle of a run; give what it began with, or another run.output".to_owned(),
    };
    format!("{key} was {from} and is now {to}: {advice}")
}
