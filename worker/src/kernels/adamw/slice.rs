//! What an update works on: a slice of the flat layout, and the scalars that decide.

use tch::Tensor;

/// A range that is updated: tensors of the same shape `[n]`. Moments and weights are float32.
#[derive(Debug)]
pub struct AdamWRange {
    /// Updated in place.
    pub parameters: Tensor,
    /// Float32, or bfloat16.
    pub gradients: Tensor,
    /// First moments, updated in place.
    pub exp_avg: Tensor,
    /// Second moments, updated in place.
    pub exp_avg_sq: Tensor,
    /// Where the new weights go once more, as bfloat16.
    pub rounded: Option<Tensor>,
    /// Which element of the model's the first one is.
    pub first: usize,
}

impl AdamWRange {
    /// `length` of its elements from number `start` on.
    fn part(&self, start: i64, length: i64) -> Self {
        let part = |tensor: &Tensor| tensor.narrow(0, start, length);
        AdamWRange {
            parameters: part(&self.parameters),
            gradients: part(&self.gradients),
            exp_avg: part(&self.exp_avg),
            exp_avg_sq: part(&self.exp_avg_sq),
            rounded: self.rounded.as_ref().map(part),
            first: self.first + start as usize,
        }
    }
}

/// A range in which runs of elements that are decayed take turns with runs that are not.
#[derive(Debug)]
pub struct AdamWSlice {
    /// All of it.
    pub whole: AdamWRange,
    /// The runs, one after the other, and whether each is decayed.
    pub runs: Vec<(AdamWRange, bool)>,
    /// Where each of them ends, int64, where the weights are; the last one where the whole does.
    pub run_ends: Tensor,
}

impl AdamWSlice {
    /// `range` in runs of these lengths, decayed or not in turns; what is left of it after them is no parameter.
    pub fn new(range: &AdamWRange, runs: &[(usize, bool)]) -> Self {
        let mut end = 0;
        let mut ends = Vec::with_capacity(runs.len());
        let mut parts = Vec::with_capacity(runs.len());
        for (length, is_decayed) in runs {
            parts.push((range.part(end, *length as i64), *is_decayed));
            end += *length as i64;
            ends.push(end);
        }
        assert!(runs.windows(2).all(|pair| pair[0].1 != pair[1].1), "runs that do not take turns");
        let run_ends = Tensor::from_slice(&ends).to_device(range.parameters.device());
        AdamWSlice { whole: range.part(0, end), runs: parts, run_ends }
    }
}

/// The scalars that decide an update: float32 scalars where the weights are, so that none has to come to the host.
#[derive(Debug)]
pub struct AdamWScalars<'a> {
    /// Number of this update, from 1.
    pub step: &'a Tensor,
    /// What the gradients are divided by.
    pub grad_scale: &'a Tensor,
    /// 1 where nothing is to be updated.
    pub skip: &'a Tensor,
}
