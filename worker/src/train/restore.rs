//! Resuming: every rank reads a part of the newest checkpoint, and what all must have travels between them.
//!
//! So each byte leaves the store once, or twice where a block is at the border of two parts, whatever the number of ranks.

use std::ops::Range;

use common::checkpoint_layout::{CheckpointName, Manifest};
use common::config::OnCorrupt;
use common::storage::Folder;
use tch::{Device, Kind, Tensor};

use super::snapshot::shapes;
use super::state::TrainState;
use crate::checkpoint::{self, CheckpointError, Quantity, Search, Wanted};
use crate::collectives::{Collectives, CollectivesError, Label};
use crate::error::JobError;
use crate::gradients::Buckets;
use crate::libtorch::host_memory::floats_mut;
use crate::model::parameters::Layout;

/// Elements that a rank contributes to a chunk, which is what travels at once.
const PART_ELEMENTS: usize = 8 << 20;

/// What a run resumes from.
#[derive(Debug)]
pub struct Restored {
    /// Which checkpoint it is.
    pub name: CheckpointName,
    /// Its table of contents, with the cursor of the data.
    pub manifest: Manifest,
    /// The newer checkpoints that did not verify, newest first: which and why, for the log.
    pub skipped: Vec<String>,
}

/// Puts weights, moments and the count of updates of the newest checkpoint of the run folder `run` that verifies into `state`; leaves it alone where there is
/// none. All ranks must call this together.
pub fn restore_newest(
    state: &mut TrainState,
    run: &Folder,
    on_corrupt: OnCorrupt,
    ranks: &dyn Collectives,
) -> Result<Option<Restored>, JobError> {
    let mut search = Search::new(run, on_corrupt);
    loop {
        let mine = search.newest()?.map(|(_, manifest)| manifest.name);
        let Some(name) = oldest_of_all(mine, run, ranks)? else { return Ok(None) };
        let read = read(state, run, &name, ranks);
        let fault = match read {
            Err(JobError::Checkpoint(ref error)) if error.is_corruption() => Some(error.to_string()),
            Err(error) => return Err(error),
            Ok(_) => None,
        };
        match (first_fault(fault, ranks)?, read) {
            (None, Ok((manifest, parts))) => {
                // First, since weights of less precision depend on it.
                state.optimizer.set_updates(manifest.updates);
                parts.share(state, ranks)?;
                return Ok(Some(Restored { name, manifest, skipped: search.into_faults() }));
            }
            (Some(_), Err(error)) if on_corrupt == OnCorrupt::Stop => return Err(error),
            (Some((rank, reason)), _) if on_corrupt == OnCorrupt::Stop => {
                return Err(CheckpointError::OnRank { rank, reason }.into());
            }
            (Some((_, reason)), _) => search.skip(name, reason),
            (None, Err(error)) => return Err(error),
        }
    }
}

/// The oldest of those that ranks would take: where one had to fall back, all do.
fn oldest_of_all(
    mine: Option<CheckpointName>,
    run: &Folder,
    ranks: &dyn Collectives,
) -> Result<Option<CheckpointName>, JobError> {
    let names = ranks.gather_bytes(&serde_json::to_vec(&mine).unwrap_or_default())?;
    let names: Vec<Option<CheckpointName>> =
        names.iter().map(|name| serde_json::from_slice(name).unwrap_or_default()).collect();
    let blind = names.iter().position(Option::is_none);
    match (names.into_iter().flatten().min(), blind) {
        (Some(oldest), Some(rank)) => Err(JobError::Usage(format!(
            "rank {rank} sees no checkpoint in {}, others see {oldest}: all ranks must reach the same run.output",
            run.url()
        ))),
        (oldest, _) => Ok(oldest),
    }
}

/// The first rank that has found a fault, and which.
fn first_fault(mine: Option<String>, ranks: &dyn Collectives) -> Result<Option<(usize, String)>, CollectivesError> {
    let faults = ranks.gather_bytes(mine.unwrap_or_default().as_bytes())?;
    let first = faults.iter().enumerate().find(|(_, fault)| !fault.is_empty());
    Ok(first.map(|(rank, fault)| (rank, String::from_utf8_lossy(fault).into_owned())))
}

/// Reads this rank's parts of checkpoint `name`.
fn read(
    state: &TrainState,
    run: &Folder,
    name: &CheckpointName,
    ranks: &dyn Collectives,
) -> Result<(Manifest, Parts), JobError> {
    let (folder, manifest) = checkpoint::read_manifest(run, name)?;
    checkpoint::check_model(folder.url(), &manifest, &shapes(&state.model))?;
    let mut parts = Parts::of(state, ranks);
    checkpoint::read_parts(&folder, &manifest, parts.wanted(&state.model.layout))?;
    Ok((manifest, parts))
}

/// Where this rank's parts of a checkpoint go, all in host memory.
struct Parts {
    chunks: Buckets,
    /// All, flat, of which this rank reads its part of every chunk.
    weights: Tensor,
    weight_places: Vec<Place>,
    /// First and second: the state's own where that is in host memory.
    moments: [Tensor; 2],
    moment_places: Vec<Place>,
}

/// Elements of the flat layout, and where they begin in a tensor.
#[derive(Clone)]
struct Place {
    start: usize,
    range: Range<usize>,
}

/// One range behind the other.
fn side_by_side(ranges: &[Range<usize>]) -> Vec<Place> {
    let mut end = 0;
    let place = |range: &Range<usize>| {
        let start = end;
        end += range.len();
        Place { start, range: range.clone() }
    };
    ranges.iter().map(place).collect()
}

/// Every range where it is in the flat layout.
fn where_they_are(ranges: &[Range<usize>]) -> Vec<Place> {
    ranges.iter().map(|range| Place { start: range.start, range: range.clone() }).collect()
}

impl Parts {
    fn of(state: &TrainState, ranks: &dyn Collectives) -> Self {
        let world = ranks.world_size();
        let chunks = Buckets::new(state.model.layout.elements(), PART_ELEMENTS * world.get() as usize, world);
        let mine: Vec<_> = chunks.ranges().iter().rev().map(|chunk| chunks.part(chunk, ranks.rank())).collect();
        let is_on_host = state.device() == Device::Cpu;
        let moment_places = match (state.is_divided(), is_on_host) {
            // Nobody else needs them.
            (true, _) => side_by_side(&state.optimizer.ranges()),
            (false, true) => where_they_are(&mine),
            (false, false) => side_by_side(&mine),
        };
        let room = moment_places.iter().map(|place| place.range.len()).sum::<usize>() as i64;
        let moments = match is_on_host {
            true => state.optimizer.moments(),
            false => [(); 2].map(|()| Tensor::zeros([room], (Kind::Float, Device::Cpu))),
        };
        Parts { chunks, weights: state.host_weights(), weight_places: where_they_are(&mine), moments, moment_places }
    }

    fn wanted<'a>(&'a mut self, layout: &'a Layout) -> Vec<Wanted<'a>> {
        let [exp_avg, exp_avg_sq] = &mut self.moments;
        let mut found = wanted(layout, Quantity::Weights, &mut self.weights, &self.weight_places);
        found.extend(wanted(layout, Quantity::ExpAvg, exp_avg, &self.moment_places));
        found.extend(wanted(layout, Quantity::ExpAvgSq, exp_avg_sq, &self.moment_places));
        found
    }

    /// Puts everything into `state`, and gives all ranks what all must have. All ranks must call this together, each with its
    /// parts read.
    fn share(self, state: &mut TrainState, ranks: &dyn Collectives) -> Result<(), JobError> {
        let _no_grad = tch::no_grad_guard();
        gather(&self.weights, &self.chunks, ranks)?;
        state.set_weights_from(&self.weights);
        for (read, own) in self.moments.iter().zip(state.optimizer.moments()) {
            if state.device() != Device::Cpu {
                for Place { start, range } in &self.moment_places {
                    let to = if state.is_divided() { *start } else { range.start };
                    let length = range.len() as i64;
                    own.narrow(0, to as i64, length).copy_(&read.narrow(0, *start as i64, length));
                }
            }
            if !state.is_divided() {
                gather(&own, &self.chunks, ranks)?;
            }
        }
        Ok(())
    }
}

/// What `places` of `tensor` should hold of `layout`'s parameters.
fn wanted<'a>(layout: &'a Layout, quantity: Quantity, tensor: &'a mut Tensor, places: &[Place]) -> Vec<Wanted<'a>> {
    let (mut rest, mut at) = (floats_mut(tensor), 0);
    let mut found = Vec::new();
    for Place { start, range } in places {
        let mut overlapping: Vec<_> = layout.overlapping(range).collect();
        overlapping.sort_by_key(|(_, part)| part.start);
        for (parameter, part) in overlapping {
            let parameter = &layout.parameters[parameter];
            let begin = start + (part.start - range.start);
            let (_, from_here) = rest.split_at_mut(begin - at);
            let (to, behind) = from_here.split_at_mut(part.len());
            (rest, at) = (behind, begin + part.len());
            let start = (part.start - parameter.start) as u64;
            found.push(Wanted { tensor: &parameter.name, quantity, start, to });
        }
    }
    found
}

/// Gives every rank all of `flat`, of which each has its part of every chunk.
fn gather(flat: &Tensor, chunks: &Buckets, ranks: &dyn Collectives) -> Result<(), CollectivesError> {
    let view = |range: &Range<usize>| flat.narrow(0, range.start as i64, range.len() as i64);
    let start = |(i, chunk): (usize, &Range<usize>)| {
        let part = chunks.part(chunk, ranks.rank());
        ranks.all_gather(&view(&part), &view(chunk), Label::bucket("a restored state", i))
    };
    let pending: Vec<_> = chunks.ranges().iter().enumerate().map(start).collect();
    pending.into_iter().try_for_each(|pending| pending.wait())
}

#[cfg(test)]
mod tests {
    use common::config::{RawConfig, RunConfig, StorageConfig};
    use common::topology::{Rank, WorldSize};

    use super::*;
    use crate::checkpoint::{ManifestHeader, commit, folder_of, new_name, write_rank};
    use crate::collectives::single::Single;
    use crate::train::snapshot::Snapshots;

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
        let (name, snapshot) = (new_name(state.step, 1), Snapshots::default().take(state, &Single::default()).unwrap());
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
        restore_newest(&mut state, run, OnCorrupt::Stop, &Single::default()).unwrap().unwrap();
        state
    }

    /// The bits of the model's weights, of the float32 weights, and of the moments.
    fn bits(state: &TrainState) -> [Vec<i64>; 2] {
        let of = |t: &Tensor, kind| Vec::<i64>::try_from(t.contiguous().view_dtype(kind).to_kind(Kind::Int64)).unwrap();
        let whole = if state.model.flat.kind() == Kind::Float { Kind::Int } else { Kind::Int16 };
        let parts = state.optimizer.parts(&state.model.layout).into_iter();
        let owned = parts.flat_map(|part| [part.master, part.exp_avg, part.exp_avg_sq].map(|t| of(&t, Kind::Int)));
        [of(&state.model.flat, whole), owned.flatten().collect()]
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
