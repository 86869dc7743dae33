//! Flat gradients: exchanged in buckets while backward goes on, then clipped.

use std::ops::Range;
use std::time::{Duration, Instant};

use tch::{Kind, Tensor};

use crate::collectives::{Collectives, CollectivesError, Label, Pending, ReduceOp};
use crate::model::parameters::Layout;

/// The sum of all ranks' gradients, bucket by bucket.
///
/// A bucket's exchange starts as soon as backward says that it is complete, and runs beside the rest of backward.
pub struct Exchange<'a> {
    collectives: &'a dyn Collectives,
    gradients: &'a Tensor,
    /// What has not been started yet, in the order in which backward completes it.
    waiting: &'a [Range<usize>],
    started: Vec<Pending>,
}

impl<'a> Exchange<'a> {
    /// Begins the exchange of `gradients`, flat [P], which `buckets` cover from the end to the start.
    pub fn begin(collectives: &'a dyn Collectives, gradients: &'a Tensor, buckets: &'a [Range<usize>]) -> Self {
        Exchange { collectives, gradients, waiting: buckets, started: Vec::with_capacity(buckets.len()) }
    }

    /// Elements from `start` on are complete: exchanges every bucket among them.
    pub fn complete_from(&mut self, start: usize) {
        while let Some((bucket, rest)) = self.waiting.split_first().filter(|(bucket, _)| bucket.start >= start) {
            let part = self.gradients.narrow(0, bucket.start as i64, bucket.len() as i64);
            let label = Label::bucket("gradients", self.started.len());
            self.started.push(self.collectives.all_reduce(&part, ReduceOp::Sum, label));
            self.waiting = rest;
        }
    }

    /// Waits for all buckets, and says how long that took.
    pub fn finish(mut self) -> Result<Duration, CollectivesError> {
        self.complete_from(0);
        let start = Instant::now();
        self.started.into_iter().try_for_each(Pending::wait)?;
        Ok(start.elapsed())
    }
}

/// What the norm of a step's gradients decides. All are float32 scalars where the gradients are.
pub struct Clip {
    /// Norm of all gradients, before clipping.
    pub norm: Tensor,
    /// What the gradients are to be divided by: 1, or norm / clip_norm where that is more.
    pub grad_scale: Tensor,
    /// 1 where the norm is not finite and the update must be skipped.
    pub found_inf: Tensor,
}

impl Clip {
    /// Judges `gradients`; `clip_norm` 0 never clips.
    ///
    /// The norm is the norm of every parameter's norm, which keeps float32 sums short, and the tiny constant is that of
    /// PyTorch's clip_grad_norm_.
    pub fn judge(layout: &Layout, gradients: &Tensor, clip_norm: f64) -> Self {
        let norms: Vec<Tensor> = layout.parameters.iter().map(|p| p.of(gradients).norm()).collect();
        let norm = Tensor::stack(&norms, 0).norm();
        let grad_scale = match clip_norm {
            0.0 => norm.ones_like(),
            clip => ((&norm + 1e-6) / clip).clamp_min(1.0),
        };
        let found_inf = norm.isfinite().logical_not().to_kind(Kind::Float);
        Clip { norm, grad_scale, found_inf }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::config::ModelConfig;
    use tch::Device;

    #[test]
    fn buckets_cover_everything_from_the_end() {
        let layout = Layout::new(&ModelConfig { layers: 4, width: 8, heads: 2, context_tokens: 4, vocabulary: 10 });
        for bytes in [4096, 8192, 1 << 20] {
            let buckets = layout.buckets(bytes);
            assert_eq!(buckets[0].end, layout.elements());
            assert!(buckets.windows(2).all(|pair| pair[1].end == pair[0].start));
            assert_eq!(buckets[buckets.len() - 1].start, 0);
        }
        assert!(layout.buckets(4096).len() > 2);
    }

    #[test]
    fn clipping_divides_by_the_excess_and_flags_what_is_not_finite() {
        let layout = Layout::new(&ModelConfig { layers: 1, width: 2, heads: 1, context_tokens: 2, vocabulary: 3 });
        let gradients = Tensor::zeros([layout.elements() as i64], (Kind::Float, Device::Cpu));
        gradients.narrow(0, 0, 2).copy_(&Tensor::from_slice(&[3.0f32, 4.0]));
        let clip = Clip::judge(&layout, &gradients, 1.0);
        assert_eq!(clip.norm.double_value(&[]), 5.0);
        assert!((clip.grad_scale.double_value(&[]) - 5.0).abs() < 1e-5);
        assert_eq!(clip.found_inf.double_value(&[]), 0.0);
        assert_eq!(Clip::judge(&layout, &gradients, 10.0).grad_scale.double_value(&[]), 1.0);
        assert_eq!(Clip::judge(&layout, &gradients, 0.0).grad_scale.double_value(&[]), 1.0);
        let _ = gradients.narrow(0, 0, 1).fill_(f64::NAN);
        assert_eq!(Clip::judge(&layout, &gradients, 1.0).found_inf.double_value(&[]), 1.0);
    }
}
