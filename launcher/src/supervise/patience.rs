//! Measures how long an attempt has run, and how long no rank has advanced, as far as this process was awake to see it. A
//! launcher that was suspended has not seen what the ranks did meanwhile, and holds it against nobody.

use std::time::{Duration, Instant};

/// Most time that counts between two looks at the clock.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Time since a rank last advanced, and time since the attempt began.
pub struct Patience {
    still: Duration,
    running: Duration,
    last_look: Instant,
}

impl Patience {
    /// Creates the clock of an attempt that begins at `now`.
    pub fn new(now: Instant) -> Self {
        Patience { still: Duration::ZERO, running: Duration::ZERO, last_look: now }
    }

    /// Restarts the count, since some rank has advanced.
    pub fn renew(&mut self) {
        self.still = Duration::ZERO;
    }

    /// Adds the time since the last look. Must be called often.
    pub fn look(&mut self, now: Instant) {
        let passed = now.duration_since(self.last_look).min(LOOK_MAX);
        self.last_look = now;
        self.still += passed;
        self.running += passed;
    }

    /// Returns how long no rank has advanced.
    pub fn still(&self) -> Duration {
        self.still
    }

    /// Returns how long the attempt has run.
    pub fn running(&self) -> Duration {
        self.running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_seen_does_not_count() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::new(start);
        patience.look(after(1));
        patience.look(after(1000));
        assert_eq!((patience.still(), patience.running()), (Duration::from_secs(2), Duration::from_secs(2)));
        patience.renew();
        patience.look(after(1001));
        assert_eq!((patience.still(), patience.running()), (Duration::from_secs(1), Duration::from_secs(3)));
    }
}
