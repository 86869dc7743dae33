//! Copies the tensors of a run into the objects of a checkpoint.

use std::ops::Range;
use std::sync::Arc;

use common::checkpoint_layout::{ParameterShape, RankShare, plan_save};
use tch::{Device, TchError, Tensor};

use crate::checkpoint::{Place, RankLayout, RankSnapshot};
use crate::collectives::Collectives;
use crate::error::JobError;
use crate::libtorch::copy_without_waiting;
use crate::libtorch::host_memory::{HostMemory, PAGE_ELEMENTS};
use crate::libtorch::streams::Stream;
use crate::model::Gpt2;
use crate::optimizer::StatePart;
use crate::step::state::TrainState;

const ELEMENT_BYTES: usize = size_of::<f32>();

/// Returns the model's parameters as a checkpoint names them.
pub fn shapes(model: &Gpt2) -> Vec<ParameterShape> {
    let shape =
        |p: &crate::model::parameters::Parameter| ParameterShape { name: p.name.clone(), shape: p.shape.clone() };
    model.layout.parameters.iter().map(shape).collect()
}

/// Takes snapshots of a state into host memory, which it keeps from one to the next: new memory would have to be
/// found, cleared and, on a GPU's host, pinned while training waits.
#[derive(Default)]
pub struct Snapshots {
    memory: Option<Arc<HostMemory>>,
}

impl Snapshots {
    /// Copies this rank's share of the state. Later changes of the state cannot affect the copy. All ranks must call
    /// this together.
    pub fn take(&mut self, state: &mut TrainState, ranks: &dyn Collectives) -> Result<RankSnapshot, JobError> {
        state.weights_are_here()?;
        let shapes = shapes(&state.model);
        let shares = plan_save(&shapes, ranks.world_size());
        let share = &shares[ranks.rank().index()];
        let slices = slices(state, share);
        let named = |(part, range): &(StatePart, Range<usize>)| {
            let elements = range.start as u64..range.end as u64;
            (shapes[part.parameter].name.clone(), elements)
        };
        let tensors = share.tensors.iter().map(|i| shapes[*i].clone()).collect();
        let layout = RankLayout::new(ranks.rank(), ranks.world_size(), tensors, slices.iter().map(named).collect())?;

        let mut image = Image::of(&layout, self.memory(&layout, state.device())?);
        copy_weights(state, ranks, share, &layout, &mut image)?;
        for ((part, range), [exp_avg, exp_avg_sq]) in slices.iter().zip(layout.slices()) {
            let (start, length) = ((range.start - part.elements.start) as i64, range.len() as i64);
            image.copy(&part.exp_avg.narrow(0, start, length), &exp_avg, 0)?;
            image.copy(&part.exp_avg_sq.narrow(0, start, length), &exp_avg_sq, 0)?;
        }
        if let Device::Cuda(index) = state.device() {
            Stream::current(index)?.record()?.synchronize()?;
        }
        let memory = Arc::new(image.memory);
        self.memory = Some(memory.clone());
        let bytes = memory.share();
        let content =
            |(start, length): (usize, usize)| bytes.slice(start * ELEMENT_BYTES..start * ELEMENT_BYTES + length);
        let contents = image.starts.into_iter().zip(layout.object_bytes()).map(content).collect();
        Ok(RankSnapshot::new(layout, contents)?)
    }

    /// Returns memory for the objects of `layout`: the previous snapshot's, unless it is still being read.
    fn memory(&mut self, layout: &RankLayout, device: Device) -> Result<HostMemory, TchError> {
        let elements = layout.object_bytes().map(aligned_elements).sum();
        match self.memory.take().and_then(Arc::into_inner) {
            Some(memory) if memory.elements() >= elements => Ok(memory),
            _ => HostMemory::new(elements, device),
        }
    }
}

/// Returns the memory that an object takes, in elements: whole pages, so that the next object begins at one.
fn aligned_elements(bytes: usize) -> usize {
    (bytes / ELEMENT_BYTES).next_multiple_of(PAGE_ELEMENTS)
}

/// Objects as they will be written, one after the other in memory.
struct Image {
    memory: HostMemory,
    /// Start of each object, in elements.
    starts: Vec<usize>,
}

impl Image {
    /// Creates the image with the objects' headers in place.
    fn of(layout: &RankLayout, mut memory: HostMemory) -> Self {
        let mut end = 0;
        let place = |bytes| {
            let start = end;
            end += aligned_elements(bytes);
            start
        };
        let starts: Vec<usize> = layout.object_bytes().map(place).collect();
        for (start, header) in starts.iter().zip(layout.headers()) {
            let floats: Vec<f32> = header.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            let to = memory.floats().narrow(0, *start as i64, floats.len() as i64);
            to.shallow_clone().copy_(&Tensor::from_slice(&floats));
        }
        Image { memory, starts }
    }

    /// Starts to copy `from`, a float32 tensor of any device, to `place`, beginning at its element `skipped`.
    fn copy(&mut self, from: &Tensor, place: &Place, skipped: usize) -> Result<(), TchError> {
        let start = self.starts[place.object] + place.bytes.start / ELEMENT_BYTES + skipped;
        copy_without_waiting(from, &self.memory.floats().narrow(0, start as i64, from.numel() as i64))
    }
}

/// Copies the whole tensors of `share`, assembled bucket by bucket, so that no rank ever holds more than a bucket of
/// other ranks' weights.
fn copy_weights(
    state: &TrainState,
    ranks: &dyn Collectives,
    share: &RankShare,
    layout: &RankLayout,
    image: &mut Image,
) -> Result<(), JobError> {
    let parameters = &state.model.layout.parameters;
    let places: Vec<Place> = layout.tensors().collect();
    state.for_each_master_bucket(ranks, |bucket, weights| {
        for (parameter, range) in state.model.layout.overlapping(bucket) {
            if let Ok(index) = share.tensors.binary_search(&parameter) {
                let from = weights.narrow(0, (range.start - bucket.start) as i64, range.len() as i64);
                image.copy(&from, &places[index], range.start - parameters[parameter].start)?;
            }
        }
        Ok(())
    })
}

/// Returns the elements of the moments that this rank saves, each as a range of a part.
fn slices(state: &TrainState, share: &RankShare) -> Vec<(StatePart, Range<usize>)> {
    let parts = state.optimizer.parts(&state.model.layout);
    if state.is_divided() {
        // No other rank has them.
        return parts.into_iter().map(|part| (part.clone(), part.elements)).collect();
    }
    let overlaps = |part: &StatePart| {
        let of_parameter = share.slices.iter().filter(|slice| slice.parameter == part.parameter);
        let overlap = of_parameter
            .map(|slice| part.elements.start.max(slice.start as usize)..part.elements.end.min(slice.end as usize));
        overlap.filter(|range| !range.is_empty()).map(|range| (part.clone(), range)).collect::<Vec<_>>()
    };
    parts.iter().flat_map(overlaps).collect()
}
