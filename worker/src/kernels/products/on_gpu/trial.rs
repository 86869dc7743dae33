//! Finds the fastest of several ways to do one task: they take turns at real work, and are timed at it.

use std::time::Duration;

use tch::TchError;

use crate::libtorch::streams::{Event, Stream};

/// Number of turns of each way. The first, in which the way may have to be loaded, does not count.
const ROUNDS: usize = 4;

/// Ways on trial, by number.
pub struct Trial {
    ways: usize,
    turns: Vec<Turn>,
    chosen: Option<usize>,
}

/// One turn, and whether the way was able to do the work.
struct Turn {
    way: usize,
    can: bool,
    begin: Event,
    end: Event,
}

/// Time counted for a way that cannot do the work: longer than any turn, and short enough for a sum.
const CANNOT: Duration = Duration::from_secs(3600);

impl Trial {
    /// Starts a trial of `ways` ways, at least one. With `is_fixed` there is no trial, and the first way is taken:
    /// the choice depends on times, and the last digits of results depend on the choice.
    pub fn new(ways: usize, is_fixed: bool) -> Self {
        Trial { ways, turns: Vec::new(), chosen: (is_fixed || ways == 1).then_some(0) }
    }

    /// Does `work` in the way whose turn it is, or in the first way if that one cannot. Never waits: times are read
    /// once they are known.
    pub fn run<E: From<TchError>>(&mut self, stream: &Stream, work: impl Fn(usize) -> Result<(), E>) -> Result<(), E> {
        if let Some(way) = self.chosen {
            return work(way);
        }
        let turn = self.turns.len();
        if turn < ROUNDS * self.ways {
            let (way, begin) = (turn % self.ways, stream.record()?);
            let done = work(way);
            let can = done.is_ok();
            // Work that is done must not fail because its time is missing: it would be done again.
            if let Ok(end) = stream.record() {
                self.turns.push(Turn { way, can, begin, end });
            }
            return if can || way == 0 { done } else { work(0) };
        }
        if self.turns.last().is_none_or(|turn| turn.end.has_passed().unwrap_or(true)) {
            let time = |turn: &Turn| if turn.can { turn.begin.until(&turn.end) } else { Ok(CANNOT) };
            let counted = self.turns.iter().skip(self.ways);
            let times: Result<Vec<_>, _> = counted.map(|turn| time(turn).map(|time| (turn.way, time))).collect();
            self.turns.clear();
            self.chosen = Some(times.map_or(0, |times| fastest(self.ways, &times)));
        }
        work(self.chosen.unwrap_or(0))
    }
}

/// Returns the one of `ways` with the least total time, without the longest turn of each: something else may have run
/// beside that.
fn fastest(ways: usize, times: &[(usize, Duration)]) -> usize {
    let total = |way| {
        let times = || times.iter().filter(|(of, _)| *of == way).map(|(_, time)| *time);
        times().sum::<Duration>() - times().max().unwrap_or_default()
    };
    (0..ways).min_by_key(|way| total(*way)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_over_all_turns_but_the_longest_is_chosen() {
        let times = [(0, 30), (1, 20), (2, 25), (0, 30), (1, 45), (2, 26), (0, 31), (1, 44), (2, 500)];
        let times = times.map(|(way, time)| (way, Duration::from_micros(time)));
        assert_eq!(fastest(3, &times), 2);
        assert_eq!(fastest(2, &times), 0);
        let cannot = [(0, CANNOT), (1, CANNOT), (2, Duration::from_micros(9))].repeat(3);
        assert_eq!(fastest(3, &cannot), 2);
    }
}
