//! Collectives of which every bucket takes longer: a slow network, for tests of what goes on beside an exchange.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::topology::{Rank, WorldSize};
use tch::Tensor;

use super::in_flight::InFlight;
use super::{Collectives, CollectivesError, Label, Pending, ReduceOp};

/// Set to a number, the worker's exchanges of buckets take so many milliseconds longer each. For tests.
pub const DELAY_VARIABLE: &str = "CONVOY_TEST_BUCKET_DELAY_MS";

/// `inner`, with operations on buckets that take turns on a line which each occupies for `delay`.
pub struct Delayed {
    inner: Arc<dyn Collectives>,
    delay: Duration,
    /// When the line is free again.
    free_at: Mutex<Instant>,
}

impl Delayed {
    /// Makes each bucket take `delay` longer.
    pub fn new(inner: Arc<dyn Collectives>, delay: Duration) -> Self {
        Delayed { inner, delay, free_at: Mutex::new(Instant::now()) }
    }

    /// `inner`, delayed if [`DELAY_VARIABLE`] asks for it.
    pub fn if_asked(inner: Arc<dyn Collectives>) -> Arc<dyn Collectives> {
        let delay_ms = std::env::var(DELAY_VARIABLE).ok().and_then(|text| text.parse().ok());
        let Some(delay_ms) = delay_ms else { return inner };
        tracing::warn!("{DELAY_VARIABLE}: every exchange of a bucket takes {delay_ms} ms longer");
        Arc::new(Delayed::new(inner, Duration::from_millis(delay_ms)))
    }

    fn delay(&self, label: Label, pending: Pending) -> Pending {
        if !label.is_bucket() {
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
}

impl Collectives for Delayed {
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
        self.delay(label, self.inner.all_reduce(tensor, op, label))
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
    use tch::{Device, Kind};

    #[test]
    fn buckets_take_turns_and_other_operations_do_not_wait() {
        let delay = Duration::from_millis(20);
        let ranks = Delayed::new(Arc::new(Single::default()), delay);
        let tensor = Tensor::zeros([1], (Kind::Float, Device::Cpu));
        let start = Instant::now();
        let buckets: Vec<_> =
            (0..3).map(|i| ranks.all_reduce(&tensor, ReduceOp::Sum, Label::bucket("gradients", i))).collect();
        assert!(ranks.barrier(Label::new("now")).wait.is_none());
        buckets.into_iter().try_for_each(Pending::wait).unwrap();
        assert!(start.elapsed() >= 3 * delay);
    }
}
