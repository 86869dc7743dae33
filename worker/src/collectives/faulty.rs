//! Collectives with faults, for tests: exchanges of buckets take longer, as over a slow network, or a rank receives a
//! flipped bit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::topology::{Rank, WorldSize};
use tch::{Kind, Tensor};

use super::in_flight::InFlight;
use super::{Collectives, CollectivesError, Label, Pending, ReduceOp};

/// Variable with the milliseconds that are added to each exchange of a bucket. For tests.
pub const DELAY_VARIABLE: &str = "CONVOY_TEST_BUCKET_DELAY_MS";

/// Variable of the form `RANK:STEP`: in that step, counted from the start of its process, that rank receives the
/// first bucket's sum with one bit flipped. Works without ZeRO-1 and in float32. For tests.
pub const FLIP_VARIABLE: &str = "CONVOY_TEST_FLIPPED_BIT";

/// Bit of the mantissa that is flipped: large enough to matter, and harmless at a glance.
const FLIPPED_BIT: i64 = 1 << 20;

/// A wrapper that adds faults to `inner`.
pub struct Faulty {
    inner: Arc<dyn Collectives>,
    /// Extra time of an operation on a bucket. Such operations take turns on a line, which each one occupies that
    /// long.
    delay: Duration,
    /// Time at which the line is free again.
    free_at: Mutex<Instant>,
    /// Number of the first bucket's sum that gets a flipped bit, from 1; 0 for none.
    flipped: u64,
    /// Number of sums of the first bucket so far.
    sums: AtomicU64,
}

impl Faulty {
    /// Wraps `inner` so that each exchange of a bucket takes `delay` longer.
    pub fn delayed(inner: Arc<dyn Collectives>, delay: Duration) -> Self {
        Faulty { inner, delay, free_at: Mutex::new(Instant::now()), flipped: 0, sums: AtomicU64::new(0) }
    }

    /// Wraps `inner` with the faults that [`DELAY_VARIABLE`] and [`FLIP_VARIABLE`] ask for, if any.
    pub fn if_asked(inner: Arc<dyn Collectives>) -> Arc<dyn Collectives> {
        let delay_ms = std::env::var(DELAY_VARIABLE).ok().and_then(|text| text.parse().ok());
        let flip = std::env::var(FLIP_VARIABLE).ok();
        let flip = flip.as_ref().and_then(|text| text.split_once(':')).and_then(|(rank, step)| {
            let is_here = rank.parse() == Ok(inner.rank().0);
            is_here.then(|| step.parse().ok()).flatten()
        });
        if delay_ms.is_none() && flip.is_none() {
            return inner;
        }
        let (delay_ms, flipped) = (delay_ms.unwrap_or(0), flip.unwrap_or(0));
        tracing::warn!(
            "for a test, exchanges of buckets take {delay_ms} ms longer, and sum {flipped}, if not 0, is wrong"
        );
        Arc::new(Faulty { flipped, ..Self::delayed(inner, Duration::from_millis(delay_ms)) })
    }

    fn delay(&self, label: Label, pending: Pending) -> Pending {
        if !label.is_bucket() || self.delay.is_zero() {
            return pending;
        }
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let end = Instant::now().max(*free_at) + self.delay;
        *free_at = end;
        Pending::new(move || {
            pending.wait()?;
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
            Ok(())
        })
    }

    fn flip(&self, tensor: &Tensor, label: Label, pending: Pending) -> Pending {
        let is_first = label == Label::bucket("gradients", 0);
        if !is_first || self.sums.fetch_add(1, Ordering::Relaxed) + 1 != self.flipped {
            return pending;
        }
        let first = tensor.narrow(0, 0, 1);
        Pending::new(move || {
            pending.wait()?;
            let _ = first.view_dtype(Kind::Int).bitwise_xor_(FLIPPED_BIT);
            Ok(())
        })
    }
}

impl Collectives for Faulty {
    fn rank(&self) -> Rank {
        self.inner.rank()
    }

    fn world_size(&self) -> WorldSize {
        self.inner.world_size()
    }

    fn set_timeout(&self, timeout: Duration) {
        self.inner.set_timeout(timeout);
    }

    fn in_flight(&self) -> &Arc<InFlight> {
        self.inner.in_flight()
    }

    fn check(&self) -> Result<(), CollectivesError> {
        self.inner.check()
    }

    fn all_reduce(&self, tensor: &Tensor, op: ReduceOp, label: Label) -> Pending {
        let pending = self.flip(tensor, label, self.inner.all_reduce(tensor, op, label));
        self.delay(label, pending)
    }

    fn reduce_scatter(&self, input: &Tensor, output: &Tensor, label: Label) -> Pending {
        self.delay(label, self.inner.reduce_scatter(input, output, label))
    }

    fn all_gather(&self, input: &Tensor, output: &Tensor, label: Label) -> Pending {
        self.delay(label, self.inner.all_gather(input, output, label))
    }

    fn broadcast(&self, tensor: &Tensor, root: Rank, label: Label) -> Pending {
        self.delay(label, self.inner.broadcast(tensor, root, label))
    }

    fn barrier(&self, label: Label) -> Pending {
        self.delay(label, self.inner.barrier(label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectives::single::Single;
    use tch::Device;

    #[test]
    fn buckets_take_turns_and_other_operations_do_not_wait() {
        let delay = Duration::from_millis(20);
        let ranks = Faulty::delayed(Arc::new(Single::default()), delay);
        let tensor = Tensor::zeros([1], (Kind::Float, Device::Cpu));
        let start = Instant::now();
        let buckets: Vec<_> =
            (0..3).map(|i| ranks.all_reduce(&tensor, ReduceOp::Sum, Label::bucket("gradients", i))).collect();
        assert!(ranks.barrier(Label::new("now")).wait.is_none());
        buckets.into_iter().try_for_each(Pending::wait).unwrap();
        assert!(start.elapsed() >= 3 * delay);
    }

    #[test]
    fn one_bit_of_one_sum_is_flipped() {
        let ranks = Faulty { flipped: 2, ..Faulty::delayed(Arc::new(Single::default()), Duration::ZERO) };
        let sums: Vec<_> = (0..3)
            .map(|_| {
                let [first, second] = [0, 1].map(|bucket| {
                    let tensor = Tensor::ones([3], (Kind::Float, Device::Cpu));
                    ranks.all_reduce(&tensor, ReduceOp::Sum, Label::bucket("gradients", bucket)).wait().unwrap();
                    Vec::<f32>::try_from(tensor).unwrap()
                });
                (first, second)
            })
            .collect();
        let (whole, flipped) = (vec![1.0; 3], vec![1.125, 1.0, 1.0]);
        assert_eq!(sums, [(whole.clone(), whole.clone()), (flipped, whole.clone()), (whole.clone(), whole)]);
    }
}
