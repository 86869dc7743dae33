//! How fast a rank may write a checkpoint, so that the network is left to those who train.

use std::time::{Duration, Instant};

/// A rate that is kept on average: what comes has to wait until what came before may have gone.
pub(super) struct Pace {
    /// 0 for no limit.
    bytes_per_s: u64,
    /// When all that came so far has gone at that rate.
    free_at: Instant,
}

impl Pace {
    /// At most `bytes_per_s`, or 0 for as fast as it goes.
    pub fn new(bytes_per_s: u64) -> Self {
        Pace { bytes_per_s, free_at: Instant::now() }
    }

    /// Waits until `bytes` more may go.
    pub fn wait_for(&mut self, bytes: usize) {
        std::thread::sleep(self.delay(bytes, Instant::now()));
    }

    /// How long `bytes` more have to wait at `now`. Time in which nothing came is not made up for.
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
        // Everything has gone at 2 s; the pause until 5 s gives no right to two pieces at once.
        assert_eq!(delay_ms(1000, at(5000)), 0);
        assert_eq!(delay_ms(1000, at(5000)), 1000);
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut pace = Pace::new(0);
        assert_eq!(pace.delay(usize::MAX, Instant::now()), Duration::ZERO);
    }
}
