//! Speed of an attempt: how long its steps take, and how long the rest will.

use std::time::{Duration, Instant};

use common::metrics::StepRecord;

use crate::view::figures::{counted, in_words};

/// Number of steps of an attempt after which its duration is foretold. The first step is left out, since it also makes ready
/// what later ones reuse.
const STEPS_KNOWN: u32 = 3;

/// Speed of this attempt, with its validations and checkpoints.
#[derive(Debug, Default)]
pub struct Pace {
    first: Option<(Instant, u64)>,
    known: u32,
    /// Duration of the known steps after the first.
    known_ms: f64,
}

impl Pace {
    /// Returns the time left after `record`, which arrived at `now`.
    pub fn left(&mut self, record: &StepRecord, steps_max: u64, now: Instant) -> Duration {
        let (since, first_step) = *self.first.get_or_insert((now, record.step));
        let steps_done = record.step.saturating_sub(first_step);
        let step_s = match steps_done {
            0 => record.step_ms / 1000.0,
            steps => now.duration_since(since).as_secs_f64() / steps as f64,
        };
        seconds(step_s * steps_max.saturating_sub(record.step) as f64)
    }

    /// Returns, once three steps of the attempt are known, a sentence about how long a step and the run take, without
    /// validations and checkpoints.
    pub fn expectation(&mut self, record: &StepRecord, steps_max: u64) -> Option<String> {
        self.known = self.known.saturating_add(1);
        if (2..=STEPS_KNOWN).contains(&self.known) {
            self.known_ms += record.step_ms;
        }
        let left = steps_max.saturating_sub(record.step);
        if self.known != STEPS_KNOWN || left == 0 {
            return None;
        }
        let step_s = self.known_ms / 1e3 / f64::from(STEPS_KNOWN - 1);
        let [all, rest] = [steps_max, left].map(|steps| in_words(seconds(step_s * steps as f64)));
        let step = if step_s < 10.0 { format!("{step_s:.2} s") } else { in_words(seconds(step_s)) };
        let steps = counted(steps_max, "step");
        Some(format!("expected: {step} a step, {all} for all {steps}, {rest} for what is left"))
    }
}

/// Returns a duration in seconds; nothing for one that makes no sense.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::train::tests::record;

    #[test]
    fn time_left_comes_from_the_step_at_first_and_from_the_clock_then() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.left(&record(10), 20, start), Duration::from_secs(20));
        let later = start + Duration::from_secs(15);
        assert_eq!(pace.left(&record(15), 20, later), Duration::from_secs(15));
        assert_eq!(pace.left(&record(20), 20, later), Duration::ZERO);
    }

    #[test]
    fn the_run_is_foretold_once_by_the_second_and_the_third_step() {
        let mut pace = Pace::default();
        let mut told = |step, step_ms| pace.expectation(&StepRecord { step_ms, ..record(step) }, 800);
        assert_eq!([told(201, 9000.0), told(202, 80.0)], [None, None]);
        let expected = "expected: 0.09 s a step, 1m12s for all 800 steps, 53s for what is left";
        assert_eq!(told(203, 100.0).as_deref(), Some(expected));
        assert_eq!(told(204, 100.0), None);
    }

    #[test]
    fn long_steps_and_ones_that_make_no_sense_are_foretold_too() {
        let told = |step_ms, steps_max| {
            let mut pace = Pace::default();
            let told = [1, 2, 3].map(|step| pace.expectation(&StepRecord { step_ms, ..record(step) }, steps_max));
            told.into_iter().flatten().next()
        };
        let expected = "expected: 1m15s a step, 2h05m for all 100 steps, 2h01m for what is left";
        assert_eq!(told(75_000.0, 100).as_deref(), Some(expected));
        assert_eq!(told(75_000.0, 3), None);
        assert!(told(f64::NAN, 100).is_some() && told(f64::MAX, u64::MAX).is_some() && told(-1.0, 100).is_some());
    }
}
