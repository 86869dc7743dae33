//! A limit on how fast a rank writes a checkpoint, so that training keeps its share of the network.

use std::time::{Duration, Instant};

/// Average rate of writing: each piece waits until the pieces before it have had their time.
pub(super) struct Pace {
    /// Bytes per second; 0 for no limit.
    bytes_per_s: u64,
    /// Time at which all earlier pieces are through, at that rate.
    free_at: Instant,
}

impl Pace {
    /// Creates a limit of `bytes_per_s`; 0 for no limit.
    pub fn new(bytes_per_s: u64) -> Self {
        Pace { bytes_per_s, free_at: Instant::now() }
    }

    /// Waits until another `bytes` may be written.
    pub fn wait_for(&mut self, bytes: usize) {
        std::thread::sleep(self.delay(bytes, Instant::now()));
    }

    /// Returns how long another `bytes` have to wait at `now`. Idle time is not made up for.
    fn delay(&mut self, bytes: usize, now: Instant) -> Duration {
        if self.bytes_per_s == 0 {
            return Duration::ZERO;
        }
        let begin = self.free_at.max(now);
        self.free_at = begin + Duration::from_secs_f64(bytes as f64 / self.bytes_per_s as f64);
        begin - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_waits_for_what_came_before() {
        let start = Instant::now();
        let mut pace = Pace { bytes_per_s: 1000, free_at: start };
        let at = |ms| start + Duration::from_millis(ms);
        let mut delay_ms = |bytes, now| pace.delay(bytes, now).as_millis();
        assert_eq!(delay_ms(500, at(0)), 0);
        assert_eq!(delay_ms(500, at(100)), 400);
        assert_eq!(delay_ms(1000, at(500)), 500);
        // All pieces are through at 2 s; the pause until 5 s does not allow two pieces at once.
        assert_eq!(delay_ms(1000, at(5000)), 0);
        assert_eq!(delay_ms(1000, at(5000)), 1000);
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut pace = Pace::new(0);
        assert_eq!(pace.delay(usize::MAX, Instant::now()), Duration::ZERO);
    }
}
