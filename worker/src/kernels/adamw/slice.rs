//! Operands of an update: a slice of the flat layout, and the scalars that control it.

use tch::Tensor;

/// A range that is updated: tensors of one shape `[n]`. Moments and weights are float32.
#[derive(Debug)]
pub struct AdamWRange {
    /// Weights, updated in place.
    pub parameters: Tensor,
    /// Gradients, float32 or bfloat16.
    pub gradients: Tensor,
    /// First moments, updated in place.
    pub exp_avg: Tensor,
    /// Second moments, updated in place.
    pub exp_avg_sq: Tensor,
    /// Copy of the new weights in bfloat16; `None` if there is none.
    pub rounded: Option<Tensor>,
    /// Number of the first element in the model.
    pub first: usize,
}

impl AdamWRange {
    /// Returns `length` of the elements, from number `start` on.
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

/// A range in which runs of decayed elements take turns with runs of others.
#[derive(Debug)]
pub struct AdamWSlice {
    /// The whole range.
    pub whole: AdamWRange,
    /// The runs in order, and whether each is decayed.
    pub runs: Vec<(AdamWRange, bool)>,
    /// End of each run, int64, on the weights' device; the last one is the end of the range.
    pub run_ends: Tensor,
}

impl AdamWSlice {
    /// Divides `range` into runs of these lengths, decayed or not in turns. The rest of it is no parameter.
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

/// Scalars that control an update: float32, on the weights' device, so that no value has to come to the host.
#[derive(Debug)]
pub struct AdamWScalars<'a> {
    /// Number of this update, from 1.
    pub step: &'a Tensor,
    /// Divisor of the gradients.
    pub grad_scale: &'a Tensor,
    /// 1 if the update is to be skipped.
    pub skip: &'a Tensor,
}
