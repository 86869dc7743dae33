//! Restores state: every rank reads a part of the newest checkpoint that all can read, and the ranks exchange what
//! they all need.
//!
//! From the run folder each byte is read once, or twice in a block at the border of two parts, with any number of
//! ranks. From their hosts (`checkpoint.local_dir`) ranks take a checkpoint at least as new as all in the run folder,
//! if every rank has its own part there. A damaged checkpoint, on a host or in the run folder, is passed over by all
//! ranks alike.

use std::collections::BTreeSet;

use common::attempt::History;
use common::checkpoint_layout::{CheckpointName, Manifest};
use common::config::OnCorrupt;
use common::start::passed_over;
use common::storage::Folder;

use super::parts::Parts;
use super::snapshot::shapes;
use crate::checkpoint::{self, CheckpointError, HostFolder, Search, Tier};
use crate::collectives::{Collectives, CollectivesError};
use crate::error::JobError;
use crate::step::state::TrainState;

/// Checkpoint that a run resumes from.
#[derive(Debug)]
pub struct Restored {
    /// Name of the checkpoint.
    pub name: CheckpointName,
    /// Kind of place that it was read from.
    pub tier: Tier,
    /// Its manifest, with the cursor of the data.
    pub manifest: Manifest,
    /// Newer checkpoints that could not be read, newest first, each with the reason, for the log.
    pub skipped: Vec<String>,
}

/// Places of a run's checkpoints, as one rank sees them.
pub struct Places<'a> {
    /// The run folder.
    pub run: &'a Folder,
    /// This rank's folder on its host, if the config has one.
    pub host: Option<&'a HostFolder>,
}

/// Puts weights, moments and the count of updates of the newest checkpoint that verifies into `state`; leaves the
/// state alone if there is none. In a run of `max_steps` steps, passes over a checkpoint that was saved while updates
/// were being skipped. All ranks must call this together.
pub fn restore_newest(
    state: &mut TrainState,
    places: &Places<'_>,
    (on_corrupt, max_steps): (OnCorrupt, u64),
    ranks: &dyn Collectives,
) -> Result<Option<Restored>, JobError> {
    let mut search = Search::new(places.run, on_corrupt);
    let mut on_hosts = OnHosts::look(places, ranks)?;
    loop {
        let mine = match newest(&mut search, places.run, max_steps) {
            // A checkpoint on the hosts may be older, and undamaged.
            Err(CheckpointError::NoneVerifies { .. }) if !on_hosts.names.is_empty() => None,
            found => found?,
        };
        let in_run = newest_of_all(mine, places.run, ranks)?;
        let on_host = on_hosts.names.last().cloned();
        let tier = if on_host.is_some() && on_host >= in_run { Tier::Hosts } else { Tier::Run };
        let Some(name) = (if tier == Tier::Hosts { on_host } else { in_run }) else {
            on_hosts.nothing_was_damaged(places)?;
            return Ok(None);
        };
        let read = read(state, places, (tier, &name), ranks);
        let fault = match read {
            Err(JobError::Checkpoint(ref error)) if is_passed_over(tier, error) => Some(error.to_string()),
            Err(error) => return Err(error),
            Ok(_) => None,
        };
        match (first_fault(fault, ranks)?, read) {
            (None, Ok((manifest, parts))) => {
                // First, since rounding to weights of less precision depends on it.
                state.optimizer.set_updates(manifest.updates);
                parts.share(state, ranks)?;
                let skipped = on_hosts.faults.into_iter().chain(search.into_faults()).collect();
                return Ok(Some(Restored { name, tier, manifest, skipped }));
            }
            (Some(fault), _) if tier == Tier::Hosts => on_hosts.skip(fault),
            (Some(_), Err(error)) if on_corrupt == OnCorrupt::Stop => return Err(error),
            (Some((rank, reason)), _) if on_corrupt == OnCorrupt::Stop => {
                return Err(CheckpointError::OnRank { rank, reason }.into());
            }
            (Some((_, reason)), _) => search.skip(name, reason),
            (None, Err(error)) => return Err(error),
        }
    }
}

/// Finds the newest checkpoint of `run` that has a readable manifest and that a run resumes from by default.
fn newest(search: &mut Search<'_>, run: &Folder, max_steps: u64) -> Result<Option<CheckpointName>, CheckpointError> {
    while let Some((_, manifest)) = search.newest()? {
        match passed_over(run, &manifest, max_steps)? {
            None => return Ok(Some(manifest.name)),
            Some(reason) => search.skip(manifest.name, reason),
        }
    }
    Ok(None)
}

/// Returns whether to try another checkpoint. On a host, a checkpoint may be lost in any way.
fn is_passed_over(tier: Tier, error: &CheckpointError) -> bool {
    match tier {
        Tier::Run => error.is_corruption(),
        Tier::Hosts => !matches!(error, CheckpointError::Model { .. }),
    }
}

/// Checkpoints on the hosts, identical on all ranks.
#[derive(Default)]
struct OnHosts {
    /// Checkpoints of which every rank has its part, oldest first.
    names: Vec<CheckpointName>,
    /// Reasons why there are not more.
    faults: Vec<String>,
    /// Whether some checkpoints were found damaged.
    is_damaged: bool,
}

impl OnHosts {
    /// Lists the checkpoints on all hosts. All ranks must call this together.
    fn look(places: &Places<'_>, ranks: &dyn Collectives) -> Result<Self, JobError> {
        let Some(host) = places.host else { return Ok(OnHosts::default()) };
        let history = History::read(places.run).map_err(CheckpointError::from)?;
        let mine = host.list(&history).map_err(|error| error.to_string());
        Ok(Self::of_all(&ranks.gather("a list of its host's checkpoints", &mine)?))
    }

    /// Combines the lists of all ranks, or the errors of ranks that cannot list theirs.
    fn of_all(ranks: &[Result<Vec<CheckpointName>, String>]) -> Self {
        let mut found = OnHosts::default();
        for (rank, fault) in ranks.iter().enumerate().filter_map(|(rank, names)| Some((rank, names.as_ref().err()?))) {
            found.faults.push(format!("rank {rank} cannot read checkpoint.local_dir: {fault}"));
        }
        let any: BTreeSet<&CheckpointName> = ranks.iter().flatten().flatten().collect();
        for name in any {
            match ranks.iter().position(|names| !names.as_ref().is_ok_and(|names| names.contains(name))) {
                None => found.names.push(name.clone()),
                Some(rank) => {
                    found.faults.push(format!("{name} in checkpoint.local_dir: rank {rank} has no part of it"))
                }
            }
        }
        found
    }

    /// Skips the newest checkpoint, in which a rank has found a fault.
    fn skip(&mut self, (rank, reason): (usize, String)) {
        self.names.pop();
        self.is_damaged = true;
        self.faults.push(format!("rank {rank}: {reason}"));
    }

    /// Fails if a checkpoint was damaged, so that a fresh start is no option.
    fn nothing_was_damaged(self, places: &Places<'_>) -> Result<(), CheckpointError> {
        match places.host {
            Some(host) if self.is_damaged => {
                Err(CheckpointError::NoneVerifies { url: host.url().to_owned(), reasons: self.faults })
            }
            _ => Ok(()),
        }
    }
}

/// Returns the newest checkpoint that any rank has found: a listing may be out of date, and what one rank has read
/// exists for all. If the checkpoint is damaged for another rank, all ranks skip it later.
fn newest_of_all(
    mine: Option<CheckpointName>,
    run: &Folder,
    ranks: &dyn Collectives,
) -> Result<Option<CheckpointName>, JobError> {
    let names = ranks.gather("a checkpoint's name", &mine)?;
    let Some(newest) = names.iter().flatten().max().cloned() else { return Ok(None) };
    if names.contains(&None) {
        let is_there = mine.is_some() || !checkpoint::read_manifest(run, &newest).is_err_and(|error| error.is_gone());
        let are_there = ranks.gather("its answer whether a checkpoint is there", &is_there)?;
        if let Some(rank) = are_there.iter().position(|is_there| !is_there) {
            return Err(CheckpointError::Unseen { rank, url: run.url().to_owned(), newest }.into());
        }
    }
    Ok(Some(newest))
}

/// The first rank that has found a fault, and which.
fn first_fault(mine: Option<String>, ranks: &dyn Collectives) -> Result<Option<(usize, String)>, CollectivesError> {
    let faults = ranks.gather("a fault of a checkpoint", &mine)?;
    Ok(faults.into_iter().enumerate().find_map(|(rank, fault)| Some((rank, fault?))))
}

/// Reads this rank's parts of checkpoint `name`.
fn read(
    state: &TrainState,
    places: &Places<'_>,
    (tier, name): (Tier, &CheckpointName),
    ranks: &dyn Collectives,
) -> Result<(Manifest, Parts), JobError> {
    let (folder, manifest) = match (tier, places.host) {
        (Tier::Hosts, Some(host)) => host.read_manifest(name)?,
        _ => checkpoint::read_manifest(places.run, name)?,
    };
    checkpoint::check_model(folder.url(), &manifest, &shapes(&state.model))?;
    let mut parts = Parts::of(tier, &manifest, state, ranks);
    checkpoint::read_parts(&folder, &manifest, parts.wanted(&state.model.layout))?;
    Ok((manifest, parts))
}

#[cfg(test)]
mod tests {
    use common::attempt::Claim;
    use common::config::{RawConfig, RunConfig, StorageConfig};
    use common::random::random_hex;
    use common::topology::{Rank, WorldSize};

    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::checkpoint::{ManifestHeader, commit, folder_of, new_name, write_rank};
    use crate::collectives::single::Single;
    use crate::saving::snapshot::Snapshots;

    fn config(overrides: &[&str]) -> RunConfig {
        let text = "[run]\noutput = \"memory://x\"\n[data]\ntrain = [{ url = \"memory://x\" }]\n\
                    [model]\nlayers = 2\nwidth = 32\nheads = 2\ncontext_tokens = 16\nvocabulary = 101\n\
                    [batch]\nglobal_sequences = 2\nmicro_sequences = 2\nsequence_tokens = 16\n\
                    [optimizer]\npeak_learning_rate = 1e-2\nwarmup_steps = 1\n[train]\nmax_steps = 10\n";
        let overrides: Vec<_> = overrides.iter().map(|given| (*given).to_owned()).collect();
        RawConfig::parse("of the test", text, &overrides).unwrap().run().unwrap()
    }

    fn fresh(config: &RunConfig) -> TrainState {
        TrainState::initialise(config, Device::Cpu, Rank::ZERO, WorldSize::ONE).unwrap()
    }

    fn train(state: &mut TrainState, steps: u64) {
        let ranks = Single::default();
        for step in 0..steps {
            let tokens = (0..2 * 17).map(|i| ((i * i + step as i32) * 7) % 101).collect::<Vec<i32>>();
            let accumulated = state.accumulate_on(&ranks, 1, |_| Ok((tokens.clone(), 2))).unwrap();
            state.update(&ranks, accumulated).unwrap();
        }
    }

    /// Saves `state` into a run folder of its own.
    fn saved(state: &mut TrainState, config: &RunConfig, run: &str) -> Folder {
        let run = Folder::open(&format!("memory://restore-{run}/run"), &StorageConfig::default()).unwrap();
        let claim = Claim { number: 1, id: random_hex() };
        let (name, snapshot) =
            (new_name(state.step, &claim), Snapshots::default().take(state, &Single::default()).unwrap());
        let header = ManifestHeader {
            name: name.clone(),
            sequences_consumed: state.consumed,
            updates: state.optimizer.updates(),
            grad_norms: Vec::new(),
            skipped_in_a_row: 0,
            changes: Vec::new(),
            world_size: WorldSize::ONE,
            tokenizer_hash: String::new(),
            data_sequences: 1,
            data_order: 2,
            config: config.to_toml(),
            model: config.model.clone(),
        };
        let folder = folder_of(&run, &name);
        let written = write_rank(&folder, snapshot, 0).unwrap();
        commit(&folder, header, vec![written]).unwrap();
        run
    }

    fn restored(run: &Folder, config: &RunConfig) -> TrainState {
        let mut state = fresh(config);
        restore_newest(&mut state, &Places { run, host: None }, (OnCorrupt::Stop, 10), &Single::default())
            .unwrap()
            .unwrap();
        state
    }

    /// Returns the bits of the model's weights, of the float32 weights, and of the moments.
    fn bits(state: &TrainState) -> [Vec<i64>; 2] {
        let of = |t: &Tensor, kind| Vec::<i64>::try_from(t.contiguous().view_dtype(kind).to_kind(Kind::Int64)).unwrap();
        let whole = if state.model.flat.kind() == Kind::Float { Kind::Int } else { Kind::Int16 };
        let parts = state.optimizer.parts(&state.model.layout).into_iter();
        let owned = parts.flat_map(|part| [part.master, part.exp_avg, part.exp_avg_sq].map(|t| of(&t, Kind::Int)));
        [of(&state.model.flat, whole), owned.flatten().collect()]
    }

    #[test]
    fn what_every_host_has_counts_and_what_is_amiss_is_said() {
        let name = |step| CheckpointName { step, attempt: 1, id: "x1".into() };
        let found = OnHosts::of_all(&[Ok(vec![name(2), name(4), name(6)]), Ok(vec![name(4), name(6), name(8)])]);
        assert_eq!(found.names, [name(4), name(6)]);
        assert_eq!(found.faults.len(), 2);
        assert!(found.faults[1].contains("step-00000008") && found.faults[1].contains("rank 0 has no part"));
        let found = OnHosts::of_all(&[Ok(vec![name(2)]), Err("a broken disk".into())]);
        assert!(found.names.is_empty() && found.faults[0].contains("rank 1 cannot read"), "{:?}", found.faults);
    }

    #[test]
    fn weights_that_were_rounded_by_chance_come_back_as_they_were() {
        let config = config(&["train.precision=bfloat16", "train.stochastic_rounding=true"]);
        let mut state = fresh(&config);
        for steps in [0, 1, 3] {
            train(&mut state, steps);
            let run = saved(&mut state, &config, &format!("rounded-{steps}"));
            assert!(bits(&restored(&run, &config)) == bits(&state), "after {} steps", state.step);
        }
        let nearest = state.optimizer.master(0).unwrap().to_kind(Kind::BFloat16);
        assert!(nearest != state.model.flat.narrow(0, 0, nearest.numel() as i64), "nothing was rounded by chance");
    }

    #[test]
    fn float32_weights_come_through_a_time_in_bfloat16() {
        let (full, half) = (config(&[]), config(&["train.precision=bfloat16"]));
        let mut state = fresh(&full);
        train(&mut state, 3);
        let [_, expected] = bits(&state);
        let mut in_half = restored(&saved(&mut state, &full, "full"), &half);
        assert!(in_half.model.flat.kind() == Kind::BFloat16 && bits(&in_half)[1] == expected);
        let again = restored(&saved(&mut in_half, &half, "half"), &full);
        assert!(bits(&again) == bits(&state));
    }
}
