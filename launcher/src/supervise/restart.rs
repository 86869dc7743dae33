//! Decides whether to restart after an attempt has ended, and when. Pure.

use std::time::Duration;

use common::exit_code::ExitCode;

/// Longest pause before a restart.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// Counts restarts against `launch.max_restarts`; progress refills that budget.
#[derive(Debug)]
pub struct RestartPolicy {
    restarts_max: u32,
    restarts_in_a_row: u32,
    bug_was_tried_again: bool,
    step_max: u64,
}

/// Decision after an attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision {
    /// Restart after `delay`.
    Restart {
        /// Pause before the restart.
        delay: Duration,
        /// Number of restarts that remain after this one, unless there is progress.
        left: u32,
    },
    /// End: a restart would not help.
    GiveUp,
    /// End: a restart might help, but did not `restarts` times in a row.
    OutOfBudget {
        /// Number of restarts that were tried.
        restarts: u32,
    },
}

impl RestartPolicy {
    /// Creates a policy with a full budget.
    pub fn new(restarts_max: u32) -> Self {
        RestartPolicy { restarts_max, restarts_in_a_row: 0, bug_was_tried_again: false, step_max: 0 }
    }

    /// Records that an attempt reached `step`. Only a step that no attempt had reached before refills the budget, so that a
    /// run which always dies in one place ends.
    pub fn reached(&mut self, step: u64) {
        if step > self.step_max {
            self.step_max = step;
            self.restarts_in_a_row = 0;
        }
    }

    /// Decides after an attempt has ended with `code`. A `jitter` in `[0, 1)` spreads the restarts of many runs.
    pub fn decide(&mut self, code: ExitCode, jitter: f64) -> Decision {
        let bug = code == ExitCode::Bug;
        if !code.is_worth_a_restart() && (!bug || self.bug_was_tried_again) {
            return Decision::GiveUp;
        }
        if self.restarts_in_a_row >= self.restarts_max {
            return Decision::OutOfBudget { restarts: self.restarts_in_a_row };
        }
        self.bug_was_tried_again |= bug;
        let delay = delay(self.restarts_in_a_row, jitter);
        self.restarts_in_a_row += 1;
        Decision::Restart { delay, left: self.restarts_max - self.restarts_in_a_row }
    }
}

/// Returns a pause of 1 s, 2 s, 4 s and so on, each up to a quarter shorter or longer, and never above [`DELAY_MAX`].
fn delay(restarts_before: u32, jitter: f64) -> Duration {
    let doubled = Duration::from_secs(1 << restarts_before.min(6));
    doubled.mul_f64(0.75 + jitter / 2.0).min(DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_minute_and_jitter_stays_within_a_quarter() {
        let middle: Vec<u64> = (0..8).map(|n| delay(n, 0.5).as_secs()).collect();
        assert_eq!(middle, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(delay(2, 0.0), Duration::from_secs(3));
        assert!(delay(2, 0.999) < Duration::from_secs(5));
        assert_eq!(delay(u32::MAX, 0.9), DELAY_MAX);
    }

    #[test]
    fn the_budget_counts_restarts_in_a_row_and_only_new_steps_refill_it() {
        let mut policy = RestartPolicy::new(2);
        let restart = |policy: &mut RestartPolicy| policy.decide(ExitCode::Communication, 0.5);
        policy.reached(10);
        assert_eq!(restart(&mut policy), Decision::Restart { delay: Duration::from_secs(1), left: 1 });
        policy.reached(10);
        assert_eq!(restart(&mut policy), Decision::Restart { delay: Duration::from_secs(2), left: 0 });
        policy.reached(9);
        assert_eq!(restart(&mut policy), Decision::OutOfBudget { restarts: 2 });
        policy.reached(11);
        assert_eq!(restart(&mut policy), Decision::Restart { delay: Duration::from_secs(1), left: 1 });
    }

    #[test]
    fn only_codes_that_a_restart_can_help_are_restarted_and_a_bug_once() {
        for code in [ExitCode::Done, ExitCode::Config, ExitCode::Data, ExitCode::Numeric, ExitCode::Stopped] {
            assert_eq!(RestartPolicy::new(3).decide(code, 0.5), Decision::GiveUp, "{code:?}");
        }
        let mut policy = RestartPolicy::new(3);
        assert!(matches!(policy.decide(ExitCode::Bug, 0.5), Decision::Restart { .. }));
        policy.reached(100);
        assert_eq!(policy.decide(ExitCode::Bug, 0.5), Decision::GiveUp);
        assert!(matches!(policy.decide(ExitCode::Storage, 0.5), Decision::Restart { .. }));
        assert_eq!(RestartPolicy::new(0).decide(ExitCode::Storage, 0.5), Decision::OutOfBudget { restarts: 0 });
    }
}
