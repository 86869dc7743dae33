//! Between the tensors of a run and what a checkpoint holds of them.

use common::checkpoint_layout::{ParameterShape, RankShare, plan_save};
use tch::{Device, Kind, Tensor};

use super::state::TrainState;
use crate::checkpoint::{HostSlice, HostTensor, RankSnapshot, RestoredState};
use crate::collectives::Collectives;
use crate::error::JobError;
use crate::model::Gpt2;
use crate::optimizer::StatePart;

/// The model's parameters as a checkpoint names them.
pub fn shapes(model: &Gpt2) -> Vec<ParameterShape> {
    let shape =
        |p: &crate::model::parameters::Parameter| ParameterShape { name: p.name.clone(), shape: p.shape.clone() };
    model.layout.parameters.iter().map(shape).collect()
}

/// A copy of this rank's share of the state: nothing that is written later can leak into it. All ranks must call this
/// together.
pub fn snapshot(state: &mut TrainState, ranks: &dyn Collectives) -> Result<RankSnapshot, JobError> {
    state.weights_are_here()?;
    let shares = plan_save(&shapes(&state.model), ranks.world_size());
    let share = &shares[ranks.rank().index()];
    let tensors = tensors(state, ranks, share)?;
    let parts = state.optimizer.parts(&state.model.layout);
    let slices = match state.is_divided() {
        // Nobody else has them.
        true => parts.iter().map(|part| slice(state, part, part.elements.clone())).collect(),
        false => parts.iter().flat_map(|part| in_share(state, part, share)).collect(),
    };
    Ok(RankSnapshot { tensors, slices })
}

/// The whole tensors of `share`, put together bucket by bucket, so that no rank ever holds more than a bucket of what is
/// not its own.
fn tensors(state: &TrainState, ranks: &dyn Collectives, share: &RankShare) -> Result<Vec<HostTensor>, JobError> {
    let parameters = &state.model.layout.parameters;
    let empty = |i: &usize| {
        let p = &parameters[*i];
        HostTensor { name: p.name.clone(), shape: p.shape.clone(), data: vec![0.0; p.elements] }
    };
    let mut tensors: Vec<HostTensor> = share.tensors.iter().map(empty).collect();
    state.for_each_master_bucket(ranks, |bucket, weights| {
        for (parameter, range) in state.model.layout.overlapping(bucket) {
            if let Ok(index) = share.tensors.binary_search(&parameter) {
                let (start, from) = (parameters[parameter].start, range.start - bucket.start);
                let to = &mut tensors[index].data[range.start - start..range.end - start];
                copy_to_host(&weights.narrow(0, from as i64, range.len() as i64), to);
            }
        }
    })?;
    Ok(tensors)
}

/// What `share` has of `part`.
fn in_share(state: &TrainState, part: &StatePart, share: &RankShare) -> Vec<HostSlice> {
    let of_parameter = share.slices.iter().filter(|slice| slice.parameter == part.parameter);
    let overlap = |slice: &common::checkpoint_layout::SliceRange| {
        part.elements.start.max(slice.start as usize)..part.elements.end.min(slice.end as usize)
    };
    of_parameter.map(overlap).filter(|range| !range.is_empty()).map(|range| slice(state, part, range)).collect()
}

/// Elements `range` of the parameter that `part` is of.
fn slice(state: &TrainState, part: &StatePart, range: std::ops::Range<usize>) -> HostSlice {
    let host = |tensor: &Tensor| {
        let mut values = vec![0.0; range.len()];
        let start = (range.start - part.elements.start) as i64;
        copy_to_host(&tensor.narrow(0, start, range.len() as i64), &mut values);
        values
    };
    HostSlice {
        tensor: state.model.layout.parameters[part.parameter].name.clone(),
        start: range.start as u64,
        end: range.end as u64,
        exp_avg: host(&part.exp_avg),
        exp_avg_sq: host(&part.exp_avg_sq),
    }
}

/// The elements of a float32 tensor, wherever it is.
fn copy_to_host(tensor: &Tensor, to: &mut [f32]) {
    tensor.to_device(Device::Cpu).to_kind(Kind::Float).copy_data(to, to.len());
}

/// Puts restored weights and moments into the state's tensors.
pub fn restore(state: &mut TrainState, saved: &RestoredState) {
    let _no_grad = tch::no_grad_guard();
    state.set_weights(|layout, flat| layout.load(flat, &saved.weights));
    let layout = &state.model.layout;
    for part in state.optimizer.parts(layout) {
        let name = &layout.parameters[part.parameter].name;
        for (mut to, from) in [(part.exp_avg, &saved.exp_avg), (part.exp_avg_sq, &saved.exp_avg_sq)] {
            to.copy_(&Tensor::from_slice(&from[name][part.elements.clone()]));
        }
    }
}
