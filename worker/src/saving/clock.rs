//! The clock that says when the next save is due by time.

use std::time::{Duration, Instant};

use common::config::CheckpointConfig;

use crate::checkpoint::Tier;

/// Clock that says when the next save is due by time. Only rank 0's counts.
pub(super) struct Clock {
    /// Time at which the last save of the run was begun.
    last_begun: Instant,
    has_begun: bool,
    /// Time at which the last save of any kind was begun.
    any_begun: Instant,
}

impl Clock {
    /// Starts the clock of a run that begins to train `now`.
    pub fn start(now: Instant) -> Self {
        Clock { last_begun: now, has_begun: false, any_begun: now }
    }

    /// Records that a save of `tier` begins `now`.
    pub fn begin(&mut self, tier: Tier, now: Instant) {
        self.any_begun = now;
        if tier == Tier::Run {
            *self = Clock { last_begun: now, has_begun: true, any_begun: now };
        }
    }

    /// Returns whether a save of the run is due.
    pub fn is_time(&self, config: &CheckpointConfig) -> bool {
        let first_after = config.first_after().filter(|_| !self.has_begun);
        let elapsed = self.last_begun.elapsed();
        let is_over = |limit: Option<Duration>| limit.is_some_and(|limit| elapsed >= limit);
        is_over(config.interval()) || is_over(first_after)
    }

    /// Returns whether a save on the hosts is due.
    pub fn is_time_on_hosts(&self, config: &CheckpointConfig) -> bool {
        config.local_interval().is_some_and(|limit| self.any_begun.elapsed() >= limit)
    }
}
