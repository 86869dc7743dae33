//! Compares the duration of a step with that of a stop: a step longer than `launch.grace_s` is not saved by a stop.

use std::time::Duration;

/// Duration of the last step, over all attempts of a launch.
#[derive(Debug, Default)]
pub struct Pace {
    step: Option<Duration>,
    has_warned: bool,
}

impl Pace {
    /// Records that a step took `step_ms`. Returns a warning, once, where that is longer than a stop may take.
    pub fn hear(&mut self, step_ms: f64, grace_s: u64) -> Option<String> {
        self.step = Duration::try_from_secs_f64(step_ms / 1e3).ok();
        let step = self.longer_than(grace_s).filter(|_| !std::mem::replace(&mut self.has_warned, true))?;
        Some(format!(
            "a step takes {}, and a stop may take launch.grace_s = {grace_s} s: ranks that are stopped in the middle of one are killed \
             before they can save; raise launch.grace_s",
            seconds(step)
        ))
    }

    /// Returns the duration of a step, where it is longer than a stop may take.
    pub fn longer_than(&self, grace_s: u64) -> Option<Duration> {
        self.step.filter(|step| *step > Duration::from_secs(grace_s))
    }
}

/// Formats a duration as `12.50 s`, or from 100 s on as `125 s`.
pub fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 100.0 { format!("{seconds:.2} s") } else { format!("{seconds:.0} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_outlasts_a_stop_is_warned_of_once() {
        let mut pace = Pace::default();
        assert_eq!((pace.hear(900.0, 1), pace.longer_than(1)), (None, None));
        let warning = pace.hear(90_000.0, 60).unwrap();
        assert!(warning.starts_with("a step takes 90.00 s, and a stop may take launch.grace_s = 60 s"), "{warning}");
        assert_eq!((pace.hear(90_000.0, 60), pace.longer_than(60)), (None, Some(Duration::from_secs(90))));
        assert_eq!((pace.hear(f64::NAN, 60), pace.hear(-1.0, 60), pace.longer_than(60)), (None, None, None));
    }
}
