//! Decides which steps get a line of their own.

use std::time::{Duration, Instant};

/// Number of first steps of an attempt that have a line each where there is no terminal.
const FIRST_LINES: u64 = 5;
/// Shortest time between two later lines there, where nothing else shows progress.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Shortest time between two lines above a bar, apart from those of steps 1, 2, 4, 8 and so on.
const LINE_INTERVAL_ABOVE_A_BAR: Duration = Duration::from_secs(30);

/// Lines of an attempt's steps.
#[derive(Debug)]
pub struct Lines {
    has_bar: bool,
    /// Number of steps of the attempt so far.
    steps: u64,
    last: Option<Instant>,
}

impl Lines {
    /// Begins an attempt, whose lines stay above a bar if it `has_bar`.
    pub fn new(has_bar: bool) -> Self {
        Lines { has_bar, steps: 0, last: None }
    }

    /// Returns whether the next step, which has ended at `now`, gets a line.
    pub fn is_due(&mut self, now: Instant) -> bool {
        self.steps += 1;
        let (is_early, interval) = match self.has_bar {
            true => (self.steps.is_power_of_two(), LINE_INTERVAL_ABOVE_A_BAR),
            false => (self.steps <= FIRST_LINES, LINE_INTERVAL),
        };
        let is_due = is_early || self.last.is_none_or(|last| now.duration_since(last) >= interval);
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns which of `steps` steps, each of a tenth of a second, get a line.
    fn due(has_bar: bool, steps: u64) -> Vec<u64> {
        let (start, mut lines) = (Instant::now(), Lines::new(has_bar));
        (1..=steps).filter(|step| lines.is_due(start + Duration::from_millis(step * 100))).collect()
    }

    #[test]
    fn without_a_terminal_the_first_steps_have_a_line_each_and_then_one_in_five_seconds() {
        assert_eq!(due(false, 200), [1, 2, 3, 4, 5, 55, 105, 155]);
    }

    #[test]
    fn above_a_bar_stay_steps_that_double_and_then_one_in_thirty_seconds() {
        assert_eq!(due(true, 1200), [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 812, 1024]);
    }
}
