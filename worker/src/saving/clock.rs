//! When the next save is due by time.

use std::time::{Duration, Instant};

use common::config::CheckpointConfig;

use crate::checkpoint::Tier;

/// When the next save is due by time. Only rank 0's counts.
pub(super) struct Clock {
    /// The last save of the run.
    last_begun: Instant,
    has_begun: bool,
    /// The last save of any kind.
    any_begun: Instant,
}

impl Clock {
    /// A clock of a run that has begun to train `now`.
    pub fn start(now: Instant) -> Self {
        Clock { last_begun: now, has_begun: false, any_begun: now }
    }

    /// A save of `tier` begins `now`.
    pub fn begin(&mut self, tier: Tier, now: Instant) {
        self.any_begun = now;
        if tier == Tier::Run {
            *self = Clock { last_begun: now, has_begun: true, any_begun: now };
        }
    }

    /// Whether it is time for a save of the run.
    pub fn is_time(&self, config: &CheckpointConfig) -> bool {
        let first_after = config.first_after().filter(|_| !self.has_begun);
        let elapsed = self.last_begun.elapsed();
        let is_over = |limit: Option<Duration>| limit.is_some_and(|limit| elapsed >= limit);
        is_over(config.interval()) || is_over(first_after)
    }

    /// Whether it is time for a save on the hosts.
    pub fn is_time_on_hosts(&self, config: &CheckpointConfig) -> bool {
        config.local_interval().is_some_and(|limit| self.any_begun.elapsed() >= limit)
    }
}
