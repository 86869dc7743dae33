//! Records what the ranks of an attempt were last heard to do.

use std::collections::BTreeMap;
use std::time::Instant;

use common::topology::Rank;
use common::worker_contract::Phase;

use crate::cause::last_heard::LastHeard;

/// Last report of each rank that has spoken.
#[derive(Default)]
pub struct Heard {
    positions: BTreeMap<Rank, Position>,
}

struct Position {
    step: u64,
    phase: Phase,
    exchange: Option<String>,
    at: Instant,
}

impl Heard {
    /// Records the position of `rank`. Returns whether it has advanced.
    pub fn note(&mut self, rank: Rank, step: u64, phase: Phase, exchange: Option<String>) -> bool {
        let before = self.positions.insert(rank, Position { step, phase, exchange, at: Instant::now() });
        before.is_none_or(|before| step > before.step || phase != before.phase)
    }

    /// Records that `rank` has ended a step, as [`Heard::note`] does. Such a report leaves out the rank's exchange, which
    /// stays as last reported.
    pub fn note_step(&mut self, rank: Rank, step: u64) -> bool {
        let exchange = self.positions.get_mut(&rank).and_then(|position| position.exchange.take());
        self.note(rank, step, Phase::Training, exchange)
    }

    /// Returns the last step that all ranks have ended, of those that have spoken.
    pub fn step(&self) -> u64 {
        self.positions.values().map(|position| position.step).min().unwrap_or(0)
    }

    /// Returns whether some rank trains.
    pub fn is_training(&self) -> bool {
        self.positions.values().any(|position| position.phase == Phase::Training)
    }

    /// Returns whether some rank has begun to train.
    pub fn has_trained(&self) -> bool {
        self.positions.values().any(|position| position.phase != Phase::Starting)
    }

    /// Returns what each rank was last heard to do.
    pub fn all(&self) -> Vec<LastHeard> {
        let now = Instant::now();
        let heard = |(rank, position): (&Rank, &Position)| LastHeard {
            rank: *rank,
            step: position.step,
            phase: position.phase,
            exchange: position.exchange.clone(),
            silence: now.duration_since(position.at),
        };
        self.positions.iter().map(heard).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_step_or_another_phase_is_further() {
        let mut heard = Heard::default();
        assert!(heard.note(Rank(1), 0, Phase::Starting, None));
        assert!(!heard.note(Rank(1), 0, Phase::Starting, None));
        assert!(!heard.has_trained());
        assert!(heard.note(Rank(1), 0, Phase::Training, Some("gradients, bucket 3".into())));
        assert!(heard.has_trained() && heard.is_training() && heard.step() == 0);
        assert!(heard.note_step(Rank(1), 1));
        assert!(!heard.note_step(Rank(1), 1));
        let all = heard.all();
        assert_eq!((all.len(), all[0].step, all[0].exchange.as_deref()), (1, 1, Some("gradients, bucket 3")));
    }
}
