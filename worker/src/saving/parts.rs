//! A rank's part of a checkpoint: what it reads, where that goes, and how data that all ranks need reaches all of
//! them.
//!
//! From the run folder a rank reads its part of every chunk of the flat layout, independent of which rank wrote it.
//! From its host it can read only what it wrote itself, and sends that to the others piece by piece.

use std::ops::Range;

use common::checkpoint_layout::hugging_face::{model_object, optimizer_object};
use common::checkpoint_layout::{Manifest, TensorEntry};
use common::topology::Rank;
use tch::{Device, Kind, Tensor};

use crate::checkpoint::{Quantity, Tier, Wanted};
use crate::collectives::{Collectives, CollectivesError, Label};
use crate::error::JobError;
use crate::gradients::Buckets;
use crate::libtorch::host_memory::floats_mut;
use crate::model::parameters::Layout;
use crate::step::state::TrainState;

/// Number of elements that a rank contributes to a chunk, the unit of one transfer.
const PART_ELEMENTS: usize = 8 << 20;

/// This rank's parts of a checkpoint, all in host memory.
pub(super) struct Parts {
    /// All weights, flat, of which this rank reads its own part.
    weights: Tensor,
    weight_places: Vec<Place>,
    /// Division of the weights among the ranks that read them.
    weights_travel: Travel,
    /// First and second moments: the state's own, if they are in host memory.
    moments: [Tensor; 2],
    moment_places: Vec<Place>,
    moments_travel: Travel,
}

/// Division of the flat layout among the ranks that read it, and the way in which it reaches all of them.
enum Travel {
    /// Each rank reads its part of every chunk.
    Chunks(Buckets),
    /// Each rank reads what it wrote: ranges, ascending, each with its owner.
    Pieces(Vec<(Range<usize>, Rank)>),
    /// Each rank reads what no other rank needs.
    Nothing(Vec<Range<usize>>),
}

/// Range of the flat layout, and its start in a tensor.
#[derive(Clone)]
struct Place {
    start: usize,
    range: Range<usize>,
}

/// Places the ranges one after the other.
fn side_by_side(ranges: &[Range<usize>]) -> Vec<Place> {
    let mut end = 0;
    let place = |range: &Range<usize>| {
        let start = end;
        end += range.len();
        Place { start, range: range.clone() }
    };
    ranges.iter().map(place).collect()
}

/// Places every range as in the flat layout.
fn where_they_are(ranges: &[Range<usize>]) -> Vec<Place> {
    ranges.iter().map(|range| Place { start: range.start, range: range.clone() }).collect()
}

impl Travel {
    fn chunks(state: &TrainState, ranks: &dyn Collectives) -> Self {
        let world = ranks.world_size();
        Travel::Chunks(Buckets::new(state.model.layout.elements(), PART_ELEMENTS * world.get() as usize, world))
    }

    /// Divides pieces of parameters among the ranks that wrote them. A piece is given by name, elements and object;
    /// `object_of` names the object of a rank. Pieces in no rank's object are left out.
    fn pieces<'a>(
        layout: &Layout,
        pieces: impl Iterator<Item = (&'a str, Range<u64>, &'a str)>,
        ranks: &dyn Collectives,
        object_of: impl Fn(Rank) -> String,
    ) -> Self {
        let objects: Vec<(String, Rank)> = ranks.world_size().ranks().map(|rank| (object_of(rank), rank)).collect();
        let piece = |(tensor, elements, object): (&str, Range<u64>, &str)| {
            let start = layout.parameters.iter().find(|parameter| parameter.name == tensor)?.start;
            let (_, rank) = objects.iter().find(|(name, _)| name == object)?;
            Some((start + elements.start as usize..start + elements.end as usize, *rank))
        };
        let mut pieces: Vec<_> = pieces.filter_map(piece).collect();
        pieces.sort_by_key(|(range, _)| range.start);
        Travel::Pieces(pieces)
    }

    /// Returns the ranges that `rank` reads, ascending.
    fn of(&self, rank: Rank) -> Vec<Range<usize>> {
        match self {
            Travel::Chunks(chunks) => chunks.ranges().iter().rev().map(|chunk| chunks.part(chunk, rank)).collect(),
            Travel::Pieces(pieces) => {
                pieces.iter().filter(|(_, owner)| *owner == rank).map(|(range, _)| range.clone()).collect()
            }
            Travel::Nothing(mine) => mine.clone(),
        }
    }

    /// Gives every rank all of `flat`, of which each rank has read its own part.
    fn spread(&self, flat: &Tensor, ranks: &dyn Collectives) -> Result<(), CollectivesError> {
        let view = |range: &Range<usize>| flat.narrow(0, range.start as i64, range.len() as i64);
        let label = |i| Label::bucket("a restored state", i);
        let pending: Vec<_> = match self {
            Travel::Chunks(chunks) => {
                let mine = |chunk| view(&chunks.part(chunk, ranks.rank()));
                let start = |(i, chunk)| ranks.all_gather(&mine(chunk), &view(chunk), label(i));
                chunks.ranges().iter().enumerate().map(start).collect()
            }
            Travel::Pieces(pieces) => {
                let start = |(i, (range, owner)): (usize, &(_, Rank))| ranks.broadcast(&view(range), *owner, label(i));
                pieces.iter().enumerate().map(start).collect()
            }
            Travel::Nothing(_) => Vec::new(),
        };
        pending.into_iter().try_for_each(|pending| pending.wait())
    }
}

impl Parts {
    /// Creates the parts of a checkpoint of `tier` with this manifest.
    pub fn of<'m>(tier: Tier, manifest: &'m Manifest, state: &TrainState, ranks: &dyn Collectives) -> Self {
        let (layout, world) = (&state.model.layout, ranks.world_size());
        let weights_travel = match tier {
            Tier::Run => Travel::chunks(state, ranks),
            Tier::Hosts => {
                let whole = |t: &'m TensorEntry| (t.name.as_str(), 0..t.elements().unwrap_or(0), t.object.as_str());
                Travel::pieces(layout, manifest.tensors.iter().map(whole), ranks, |rank| model_object(rank, world))
            }
        };
        let moments_travel = match tier {
            _ if state.is_divided() => Travel::Nothing(state.optimizer.ranges()),
            Tier::Run => Travel::chunks(state, ranks),
            Tier::Hosts => {
                let slices = manifest.optimizer.iter().map(|s| (s.tensor.as_str(), s.start..s.end, s.object.as_str()));
                Travel::pieces(layout, slices, ranks, |rank| optimizer_object(rank, world))
            }
        };
        let is_on_host = state.device() == Device::Cpu;
        let of_moments = moments_travel.of(ranks.rank());
        let moment_places = match !state.is_divided() && is_on_host {
            true => where_they_are(&of_moments),
            false => side_by_side(&of_moments),
        };
        let room = moment_places.iter().map(|place| place.range.len()).sum::<usize>() as i64;
        let moments = match is_on_host {
            true => state.optimizer.moments(),
            false => [(); 2].map(|()| Tensor::zeros([room], (Kind::Float, Device::Cpu))),
        };
        let weight_places = where_they_are(&weights_travel.of(ranks.rank()));
        Parts { weights: state.host_weights(), weight_places, weights_travel, moments, moment_places, moments_travel }
    }

    /// Returns the ranges that this rank has to read, with their destinations.
    pub fn wanted<'a>(&'a mut self, layout: &'a Layout) -> Vec<Wanted<'a>> {
        let [exp_avg, exp_avg_sq] = &mut self.moments;
        let mut found = wanted(layout, Quantity::Weights, &mut self.weights, &self.weight_places);
        found.extend(wanted(layout, Quantity::ExpAvg, exp_avg, &self.moment_places));
        found.extend(wanted(layout, Quantity::ExpAvgSq, exp_avg_sq, &self.moment_places));
        found
    }

    /// Puts all parts into `state`, and shares with all ranks what they all need. All ranks must call this together,
    /// after reading their parts.
    pub fn share(self, state: &mut TrainState, ranks: &dyn Collectives) -> Result<(), JobError> {
        let _no_grad = tch::no_grad_guard();
        self.weights_travel.spread(&self.weights, ranks)?;
        state.set_weights_from(&self.weights)?;
        for (read, own) in self.moments.iter().zip(state.optimizer.moments()) {
            if state.device() != Device::Cpu {
                for Place { start, range } in &self.moment_places {
                    let to = if state.is_divided() { *start } else { range.start };
                    let length = range.len() as i64;
                    own.narrow(0, to as i64, length).copy_(&read.narrow(0, *start as i64, length));
                }
            }
            self.moments_travel.spread(&own, ranks)?;
        }
        Ok(())
    }
}

/// Returns the elements of `layout`'s parameters that belong to `places` of `tensor`.
fn wanted<'a>(layout: &'a Layout, quantity: Quantity, tensor: &'a mut Tensor, places: &[Place]) -> Vec<Wanted<'a>> {
    let (mut rest, mut at) = (floats_mut(tensor), 0);
    let mut found = Vec::new();
    for Place { start, range } in places {
        for (parameter, part) in layout.overlapping(range) {
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
