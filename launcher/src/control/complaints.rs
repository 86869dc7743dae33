//! Limits the rate of warnings that anyone who can connect can cause, so that they do not fill a log.

use std::time::{Duration, Instant};

/// Shortest time between two warnings about strangers.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// The time of the last warning, and the number suppressed since.
#[derive(Default)]
pub struct Complaints {
    told_at: Option<Instant>,
    untold: u64,
}

impl Complaints {
    /// Warns with `text`, unless the last warning was a moment ago.
    pub fn tell(&mut self, now: Instant, text: impl FnOnce() -> String) {
        match self.due(now) {
            None => {}
            Some(0) => tracing::warn!("{}", text()),
            Some(untold) => tracing::warn!("{} (and {untold} more since the last such line)", text()),
        }
    }

    /// Returns the number of warnings suppressed since the last one, if a warning is due now.
    fn due(&mut self, now: Instant) -> Option<u64> {
        if self.told_at.is_some_and(|told_at| now < told_at + COMPLAINT_INTERVAL) {
            self.untold += 1;
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_can_connect_fills_no_log() {
        let mut complaints = Complaints::default();
        let now = Instant::now();
        let told = (0..250).filter_map(|tenth| complaints.due(now + Duration::from_millis(100 * tenth)));
        assert_eq!(told.collect::<Vec<_>>(), [0, 99, 99]);
    }
}
