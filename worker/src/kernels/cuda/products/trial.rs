//! Which of several ways to do the same is the fastest: they take turns at what is to be done anyway, and are timed at it.

use std::time::Duration;

use tch::TchError;

use crate::libtorch::streams::{Event, Stream};

/// Turns of each way; the first, in which it may have to be loaded, does not count.
const ROUNDS: usize = 4;

/// Ways on trial, by their numbers.
pub struct Trial {
    ways: usize,
    turns: Vec<Turn>,
    chosen: Option<usize>,
}

/// One turn.
struct Turn {
    way: usize,
    begin: Event,
    end: Event,
}

impl Trial {
    /// Of `ways`, at least one. Where `is_fixed` nothing is tried, and it is the first: the choice hangs on times, and with it the last
    /// digits of results.
    pub fn new(ways: usize, is_fixed: bool) -> Self {
        Trial { ways, turns: Vec::new(), chosen: (is_fixed || ways == 1).then_some(0) }
    }

    /// Has `work` done in the way whose turn it is, or in the first where that cannot. Nothing is waited for: times are looked at when
    /// they are there.
    pub fn run<E: From<TchError>>(&mut self, stream: &Stream, work: impl Fn(usize) -> Result<(), E>) -> Result<(), E> {
        if let Some(way) = self.chosen {
            return work(way);
        }
        let turn = self.turns.len();
        if turn < ROUNDS * self.ways {
            let (way, begin) = (turn % self.ways, stream.record()?);
            let done = work(way);
            if done.is_err() {
                work(0)?;
            }
            // Of one that cannot, the time is that of the first, and then the first is chosen.
            self.turns.push(Turn { way, begin, end: stream.record()? });
            return Ok(());
        }
        if self.turns.last().is_none_or(|turn| turn.end.has_passed().unwrap_or(true)) {
            let counted = self.turns.drain(..).skip(self.ways);
            let times: Vec<_> = counted.map(|turn| turn.begin.until(&turn.end).map(|time| (turn.way, time))).collect();
            let times: Result<Vec<_>, _> = times.into_iter().collect();
            self.chosen = Some(times.map_or(0, |times| fastest(self.ways, &times)));
        }
        work(self.chosen.unwrap_or(0))
    }
}

/// The one of `ways` with the least time over all turns, all having had as many.
fn fastest(ways: usize, times: &[(usize, Duration)]) -> usize {
    let total = |way| times.iter().filter(|(of, _)| *of == way).map(|(_, time)| *time).sum::<Duration>();
    (0..ways).min_by_key(|way| total(*way)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_over_all_turns_is_chosen() {
        let times = [(0, 30), (1, 20), (2, 25), (0, 30), (1, 45), (2, 26)];
        let times = times.map(|(way, time)| (way, Duration::from_micros(time)));
        assert_eq!(fastest(3, &times), 2);
        assert_eq!(fastest(1, &times), 0);
    }
}
