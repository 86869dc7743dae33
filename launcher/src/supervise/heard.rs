//! Records what the ranks of an attempt were last heard to do.

use std::collections::BTreeMap;
use std::time::Instant;

use common::topology::Rank;
use common::worker_contract::{MicroBatches, Phase};

use crate::cause::last_heard::LastHeard;
use crate::view::train::Underway;

/// Last report of each rank that has spoken.
#[derive(Default)]
pub struct Heard {
    positions: BTreeMap<Rank, Position>,
}

struct Position {
    place: Place,
    exchange: Option<String>,
    at: Instant,
}

/// Place of a rank in the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number of completed steps.
    pub step: u64,
    /// Phase that the rank is in.
    pub phase: Phase,
    /// Progress within the step or the validation that is in progress.
    pub micro_batches: Option<MicroBatches>,
}

impl Place {
    fn is_beyond(&self, before: &Place) -> bool {
        let done = |place: &Place| place.micro_batches.map(|micro_batches| micro_batches.done);
        self.step > before.step || self.phase != before.phase || done(self) > done(before)
    }
}

impl Heard {
    /// Records the place of `rank`. Returns whether it has advanced.
    pub fn note(&mut self, rank: Rank, place: Place, exchange: Option<String>) -> bool {
        let before = self.positions.insert(rank, Position { place, exchange, at: Instant::now() });
        before.is_none_or(|before| place.is_beyond(&before.place))
    }

    /// Records that `rank` has ended a step, as [`Heard::note`] does. Such a report leaves out the rank's exchange, which
    /// stays as last reported.
    pub fn note_step(&mut self, rank: Rank, step: u64) -> bool {
        let exchange = self.positions.get_mut(&rank).and_then(|position| position.exchange.take());
        self.note(rank, Place { step, phase: Phase::Training, micro_batches: None }, exchange)
    }

    /// Returns the progress within the step, or the validation, that the ranks are in; `None` if they are in neither.
    pub fn underway(&self) -> Option<Underway> {
        let places = || self.positions.values().map(|position| position.place);
        let last = places().filter(|place| place.micro_batches.is_some()).min_by_key(|place| place.step)?;
        let (step, phase) = (last.step, last.phase);
        let of_it = places().filter(|place| (place.step, place.phase) == (step, phase));
        let sum =
            |(done, all): (u64, u64), part: MicroBatches| (done + u64::from(part.done), all + u64::from(part.all));
        let (done, all) = of_it.filter_map(|place| place.micro_batches).fold((0, 0), sum);
        Some(Underway { step, phase, done, all })
    }

    /// Returns the last step that all ranks have ended, of those that have spoken.
    pub fn step(&self) -> u64 {
        self.positions.values().map(|position| position.place.step).min().unwrap_or(0)
    }

    /// Returns whether some rank trains.
    pub fn is_training(&self) -> bool {
        self.positions.values().any(|position| position.place.phase == Phase::Training)
    }

    /// Returns whether some rank has begun to train.
    pub fn has_trained(&self) -> bool {
        self.positions.values().any(|position| position.place.phase != Phase::Starting)
    }

    /// Returns what each rank was last heard to do.
    pub fn all(&self) -> Vec<LastHeard> {
        let now = Instant::now();
        let heard = |(rank, position): (&Rank, &Position)| LastHeard {
            rank: *rank,
            step: position.place.step,
            phase: position.place.phase,
            exchange: position.exchange.clone(),
            silence: now.duration_since(position.at),
        };
        self.positions.iter().map(heard).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(step: u64, phase: Phase, done: Option<u32>) -> Place {
        Place { step, phase, micro_batches: done.map(|done| MicroBatches { done, all: 8 }) }
    }

    #[test]
    fn a_later_step_another_phase_or_another_micro_batch_is_further() {
        let mut heard = Heard::default();
        let starting = place(0, Phase::Starting, None);
        assert!(heard.note(Rank(1), starting, None));
        assert!(!heard.note(Rank(1), starting, None));
        assert!(!heard.has_trained());
        assert!(heard.note(Rank(1), place(0, Phase::Training, None), None));
        assert!(heard.note(Rank(1), place(0, Phase::Training, Some(2)), None));
        assert!(!heard.note(Rank(1), place(0, Phase::Training, Some(2)), None));
        assert!(heard.note(Rank(1), place(0, Phase::Training, Some(3)), Some("gradients, bucket 3".into())));
        assert!(heard.has_trained() && heard.is_training() && heard.step() == 0);
        assert!(heard.note_step(Rank(1), 1));
        assert!(!heard.note_step(Rank(1), 1));
        let all = heard.all();
        assert_eq!((all.len(), all[0].step, all[0].exchange.as_deref()), (1, 1, Some("gradients, bucket 3")));
    }

    #[test]
    fn progress_is_the_sum_over_the_ranks_that_are_in_the_step() {
        let mut heard = Heard::default();
        heard.note(Rank(0), place(4, Phase::Training, None), None);
        assert_eq!(heard.underway(), None);
        heard.note(Rank(0), place(4, Phase::Training, Some(3)), None);
        heard.note(Rank(1), place(4, Phase::Training, Some(5)), None);
        // The others have not begun that step, or are beyond it.
        heard.note(Rank(2), place(3, Phase::Evaluating, None), None);
        heard.note(Rank(3), place(5, Phase::Training, Some(1)), None);
        assert_eq!(heard.underway(), Some(Underway { step: 4, phase: Phase::Training, done: 8, all: 16 }));
    }
}
