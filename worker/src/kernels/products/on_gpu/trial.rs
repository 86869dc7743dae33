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

/// One turn, whether it was one, or the way cannot.
struct Turn {
    way: usize,
    can: bool,
    begin: Event,
    end: Event,
}

/// What a turn counts in which the way could not: more than any takes, and little enough for a sum.
const CANNOT: Duration = Duration::from_secs(3600);

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
            let can = done.is_ok();
            // What has been done must not fail for want of its time: it would be done again.
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

/// The one of `ways` whose turns took the least time, but for the longest of each: something else may have run beside it.
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
