//! Finds the rank that the others wait for. In synchronous training every step ends at one time on all ranks; only the time
//! for which a step keeps each rank busy distinguishes them.

use std::collections::BTreeMap;

use common::topology::Rank;

/// Number of steps over which ranks are compared.
const WINDOW_STEPS: u64 = 20;
/// Factor over the busy time of the others from which a rank counts as slow.
const SLOW: f64 = 1.3;
/// Smallest difference, in milliseconds, that matters.
const DIFFERENCE_MIN_MS: f64 = 5.0;

/// A rank that all others wait for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Straggler {
    /// Rank that is slow.
    pub rank: Rank,
    /// Milliseconds for which a step keeps the rank busy.
    pub step_ms: f64,
    /// Median of the other ranks, in milliseconds.
    pub others_ms: f64,
}

/// Compares ranks, window after window.
#[derive(Debug, Default)]
pub struct Stragglers {
    ranks: BTreeMap<Rank, Busy>,
    /// Rank that was named last. It is named again only after a window in which it was not slow.
    named: Option<Rank>,
}

#[derive(Debug, Clone, Copy)]
struct Busy {
    /// Completed steps at the window's start, and seconds for which they kept the rank busy.
    first: (u64, f64),
    last: (u64, f64),
}

impl Busy {
    fn steps(&self) -> u64 {
        self.last.0.saturating_sub(self.first.0)
    }

    fn step_ms(&self) -> f64 {
        (self.last.1 - self.first.1) * 1e3 / self.steps() as f64
    }
}

impl Stragglers {
    /// Records that `rank` has completed `step` steps, and was busy for `busy_s` seconds over this attempt. Returns the slow
    /// rank when a window is complete for all ranks, unless the window before named that rank, too.
    pub fn hear(&mut self, rank: Rank, step: u64, busy_s: f64) -> Option<Straggler> {
        // The first step warms up, and belongs to no window.
        if busy_s == 0.0 {
            return None;
        }
        let now = (step, busy_s);
        self.ranks.entry(rank).or_insert(Busy { first: now, last: now }).last = now;
        if self.ranks.len() < 2 || self.ranks.values().any(|busy| busy.steps() < WINDOW_STEPS) {
            return None;
        }
        let slow = self.slowest();
        self.ranks.values_mut().for_each(|busy| busy.first = busy.last);
        let before = std::mem::replace(&mut self.named, slow.map(|slow| slow.rank));
        slow.filter(|slow| before != Some(slow.rank))
    }

    fn slowest(&self) -> Option<Straggler> {
        let mut steps: Vec<(Rank, f64)> = self.ranks.iter().map(|(rank, busy)| (*rank, busy.step_ms())).collect();
        steps.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (rank, step_ms) = steps.pop()?;
        let (_, others_ms) = *steps.get(steps.len() / 2)?;
        let is_slow = step_ms > SLOW * others_ms && step_ms - others_ms > DIFFERENCE_MIN_MS;
        is_slow.then_some(Straggler { rank, step_ms, others_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds ranks with the given milliseconds per step, every second step of `steps`; returns which were named.
    fn hear(stragglers: &mut Stragglers, steps: std::ops::Range<u64>, step_ms: &[f64]) -> Vec<u32> {
        let mut named = Vec::new();
        for step in steps.step_by(2) {
            for (rank, ms) in step_ms.iter().enumerate() {
                named.extend(stragglers.hear(Rank(rank as u32), step, 1.0 + step as f64 * ms / 1e3).map(|s| s.rank.0));
            }
        }
        named
    }

    #[test]
    fn the_slow_one_is_named_once_and_again_after_a_good_window() {
        let (even, slow) = ([100.0, 101.0, 99.0, 104.0], [100.0, 190.0, 99.0, 104.0]);
        let mut stragglers = Stragglers::default();
        assert_eq!(hear(&mut stragglers, 1..200, &even), [0; 0]);
        let mut stragglers = Stragglers::default();
        assert_eq!(hear(&mut stragglers, 1..200, &slow), [1]);
        assert_eq!(hear(&mut Stragglers::default(), 1..200, &[10.0, 12.9]), [0; 0], "not by enough");
        assert_eq!(hear(&mut Stragglers::default(), 1..200, &[1.0, 4.0]), [0; 0], "too short to matter");
        assert_eq!(hear(&mut Stragglers::default(), 1..200, &[50.0, 20.0]), [0]);
        assert_eq!(hear(&mut Stragglers::default(), 1..200, &[50.0]), [0; 0], "alone");
    }

    #[test]
    fn a_rank_that_is_not_heard_holds_the_window_open() {
        let mut stragglers = Stragglers::default();
        for step in 1..100 {
            assert_eq!(stragglers.hear(Rank(0), step, step as f64), None);
        }
        assert_eq!(stragglers.hear(Rank(1), 1, 0.1), None);
        let slow = stragglers.hear(Rank(1), 99, 0.2).unwrap();
        assert_eq!(slow.rank, Rank(0));
    }
}
