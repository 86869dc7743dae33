//! Decides which rank saves what. Every rank gets an equal share of the bytes, as far as whole tensors allow.

use serde::{Deserialize, Serialize};

use crate::topology::{Rank, WorldSize};

/// Name and shape of a parameter in Hugging Face's layout, unpadded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterShape {
    /// Name, such as `transformer.wte.weight`.
    pub name: String,
    /// Shape, row-major.
    pub shape: Vec<u64>,
}

impl ParameterShape {
    /// Returns the number of elements. Saturates, which no real tensor reaches.
    pub fn elements(&self) -> u64 {
        self.shape.iter().fold(1, |product, size| product.saturating_mul(*size))
    }
}

/// What one rank saves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RankShare {
    /// Indices of the model's tensors that go whole into this rank's model object, ascending.
    pub tensors: Vec<usize>,
    /// Parts of the optimizer's moments that go into this rank's optimizer object, in order.
    pub slices: Vec<SliceRange>,
}

/// Elements `[start, end)` of a parameter, counted in its row-major, unpadded layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceRange {
    /// Index of the parameter.
    pub parameter: usize,
    /// First element.
    pub start: u64,
    /// One past the last element, above `start`.
    pub end: u64,
}

/// Divides a save over `world` ranks, one [`RankShare`] per rank. Every rank computes an identical plan.
///
/// Weights are saved as whole tensors, so that each object is an ordinary part of a Hugging Face model: the largest
/// remaining tensor goes to the rank with the least, and no two ranks differ by more than the largest tensor. Optimizer
/// moments are cut anywhere: the concatenation of all parameters is cut into `world` contiguous ranges of equal size.
pub fn plan_save(parameters: &[ParameterShape], world: WorldSize) -> Vec<RankShare> {
    let mut shares = vec![RankShare::default(); world.get() as usize];
    let mut by_size: Vec<usize> = (0..parameters.len()).collect();
    by_size.sort_by_key(|i| (std::cmp::Reverse(parameters[*i].elements()), *i));
    let mut loads = vec![0_u64; shares.len()];
    for index in by_size {
        let least = (0..loads.len()).min_by_key(|rank| loads[*rank]).unwrap_or_default();
        loads[least] = loads[least].saturating_add(parameters[index].elements());
        shares[least].tensors.push(index);
    }
    for (rank, share) in world.ranks().zip(&mut shares) {
        share.tensors.sort_unstable();
        share.slices = optimizer_slices(parameters, world, rank);
    }
    shares
}

/// Returns rank `rank`'s range of the concatenated parameters, as ranges of each parameter.
fn optimizer_slices(parameters: &[ParameterShape], world: WorldSize, rank: Rank) -> Vec<SliceRange> {
    let total = parameters.iter().fold(0_u64, |sum, p| sum.saturating_add(p.elements()));
    let share = world.share(rank, total);
    let mut slices = Vec::new();
    let mut offset = 0_u64;
    for (parameter, elements) in parameters.iter().map(ParameterShape::elements).enumerate() {
        let (start, end) = (share.start.max(offset), share.end.min(offset.saturating_add(elements)));
        if start < end {
            slices.push(SliceRange { parameter, start: start - offset, end: end - offset });
        }
        offset = offset.saturating_add(elements);
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns models of odd shapes: some with tensors of no, one, or very many elements.
    fn models() -> Vec<Vec<ParameterShape>> {
        let sizes: [&[u64]; 6] =
            [&[], &[5], &[0, 3, 0], &[1; 9], &[1000, 1, 7, 64, 64, 3], &[12, 30, 7, 7, 49, 1, 100]];
        let shape = |(i, elements): (usize, &u64)| ParameterShape { name: format!("p{i}"), shape: vec![*elements, 1] };
        sizes.into_iter().map(|sizes| sizes.iter().enumerate().map(shape).collect()).collect()
    }

    #[test]
    fn every_tensor_and_every_element_is_written_once() {
        for parameters in models() {
            for world in (1..=9).filter_map(WorldSize::new) {
                let shares = plan_save(&parameters, world);
                assert_eq!(shares.len(), world.get() as usize);
                let mut tensors: Vec<_> = shares.iter().flat_map(|s| s.tensors.clone()).collect();
                tensors.sort_unstable();
                assert_eq!(tensors, (0..parameters.len()).collect::<Vec<_>>());
                let mut covered = vec![0; parameters.len()];
                for slice in shares.iter().flat_map(|s| &s.slices) {
                    assert_eq!(slice.start, covered[slice.parameter], "slices follow each other");
                    assert!(slice.start < slice.end);
                    covered[slice.parameter] = slice.end;
                }
                let whole: Vec<_> = parameters.iter().map(ParameterShape::elements).collect();
                assert_eq!(covered, whole);
            }
        }
    }

    #[test]
    fn ranks_write_equal_parts() {
        for parameters in models() {
            let largest = parameters.iter().map(ParameterShape::elements).max().unwrap_or(0);
            for world in (1..=9).filter_map(WorldSize::new) {
                let shares = plan_save(&parameters, world);
                let spread = |sizes: Vec<u64>| sizes.iter().max().unwrap() - sizes.iter().min().unwrap();
                let tensors = |s: &RankShare| s.tensors.iter().map(|i| parameters[*i].elements()).sum();
                assert!(spread(shares.iter().map(tensors).collect()) <= largest);
                let slices = |s: &RankShare| s.slices.iter().map(|s| s.end - s.start).sum();
                assert!(spread(shares.iter().map(slices).collect()) <= 1);
            }
        }
    }

    #[test]
    fn the_largest_tensors_are_placed_first() {
        let shape = |(i, size): (usize, &u64)| ParameterShape { name: i.to_string(), shape: vec![*size] };
        let parameters: Vec<_> = [3, 5, 4, 2, 6].iter().enumerate().map(shape).collect();
        let shares = plan_save(&parameters, WorldSize::new(2).unwrap());
        // 6 | 5, then 4 to the second, 3 to the first, and 2 to the lower of two ranks that have 9.
        assert_eq!((shares[0].tensors.as_slice(), shares[1].tensors.as_slice()), (&[0, 3, 4][..], &[1, 2][..]));
        let cut = SliceRange { parameter: 2, start: 0, end: 2 };
        assert_eq!(shares[0].slices.last(), Some(&cut));
        assert_eq!(shares[1].slices[0], SliceRange { parameter: 2, start: 2, end: 4 });
    }
}
