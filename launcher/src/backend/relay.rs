//! Passes what happens from the launcher beside the ranks to one that follows them from elsewhere, through standard output,
//! which a cluster keeps and delivers.
//!
//! Output of ranks is printed in the form of `mpirun --tag-output`, so that people can read it. Messages of ranks, and in the
//! end the cause, are JSON behind a mark.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::exit_code::ExitCode;
use common::message_text::{line, lines};
use common::topology::Rank;
use common::untrusted::json_printable;
use common::worker_contract::{FromRank, PROGRESS_MARK, Phase};
use serde::{Deserialize, Serialize};

use super::tagged_output::split_tag;
use crate::cause::Cause;
use crate::event::{Event, Stream};
use crate::view::terminal::to_stdout;

/// Mark with which a line for a launcher begins.
const MARK: &str = "convoy-relay ";

/// Shortest pause before a heartbeat is passed on only for the micro batches that it counts. A step that takes no longer needs
/// no such progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);
/// Shortest pause between two lines of a rank that say how far it is. A cluster keeps all that is printed.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Content of a line behind the mark.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Relayed {
    Message {
        rank: Rank,
        message: FromRank,
    },
    Ended {
        code: ExitCode,
        rank: Option<Rank>,
        #[serde(deserialize_with = "line::deserialize")]
        headline: String,
        #[serde(deserialize_with = "lines::deserialize")]
        message: String,
    },
}

/// Prints an attempt's events for a launcher elsewhere.
#[derive(Default)]
pub struct Relay {
    phases: BTreeMap<Rank, Phase>,
    /// When a message of rank 0 was last passed on.
    heard_of_zero: Option<Instant>,
    /// When each rank's last line of progress was passed on.
    lines_of_progress: BTreeMap<Rank, Instant>,
    /// Last line of progress of each rank, if it has not been passed on.
    withheld: BTreeMap<Rank, String>,
}

impl Relay {
    /// Passes `event` on, unless it tells a launcher elsewhere nothing new.
    pub fn pass_on(&mut self, event: &Event) {
        if let Some(line) = self.line(event, Instant::now()) {
            to_stdout(&line);
        }
    }

    fn line(&mut self, event: &Event, now: Instant) -> Option<String> {
        match event {
            // Of heartbeats, which come every second, only changes of phase are passed on, and progress within long steps.
            Event::Message { rank, message: FromRank::Heartbeat { phase, micro_batches, .. } }
                if self.phases.insert(*rank, *phase) == Some(*phase)
                    && !(rank.is_zero() && micro_batches.is_some() && self.is_progress_due(now)) =>
            {
                None
            }
            Event::Message { message: FromRank::Hello { .. }, .. } => None,
            Event::Message { rank, message } => {
                if rank.is_zero() {
                    self.heard_of_zero = Some(now);
                }
                Some(marked(&Relayed::Message { rank: *rank, message: message.clone() }))
            }
            Event::Output { rank: Some(rank), line, .. }
                if line.starts_with(PROGRESS_MARK) && !self.is_line_due(*rank, now) =>
            {
                self.withheld.insert(*rank, line.clone());
                None
            }
            Event::Output { rank: Some(rank), stream: Stream::Out, line } => Some(on_stdout(*rank, line)),
            Event::Output { rank: Some(rank), stream: Stream::Err, line } => Some(format!("[1,{rank}]<stderr>:{line}")),
            Event::Output { rank: None, line, .. } => Some(line.clone()),
            _ => None,
        }
    }

    fn is_progress_due(&self, now: Instant) -> bool {
        self.heard_of_zero.is_some_and(|heard| now.duration_since(heard) >= PROGRESS_INTERVAL)
    }

    /// Returns whether a line of progress of `rank` is to be passed on now, and counts it if it is.
    fn is_line_due(&mut self, rank: Rank, now: Instant) -> bool {
        let last = self.lines_of_progress.get(&rank);
        let is_due = last.is_none_or(|last| now.duration_since(*last) >= LINE_INTERVAL);
        if is_due {
            self.lines_of_progress.insert(rank, now);
            self.withheld.remove(&rank);
        }
        is_due
    }

    /// Passes on how far each rank came, and why the attempt ended.
    pub fn end(&mut self, cause: &Cause) {
        self.rest().iter().for_each(|line| to_stdout(line));
        to_stdout(&end_line(cause));
    }

    /// Takes the last lines of progress that have not been passed on.
    fn rest(&mut self) -> Vec<String> {
        let withheld = std::mem::take(&mut self.withheld);
        withheld.into_iter().map(|(rank, line)| on_stdout(rank, &line)).collect()
    }
}

/// Returns a line of a rank's standard output as `mpirun --tag-output` prints it.
fn on_stdout(rank: Rank, line: &str) -> String {
    format!("[1,{rank}]<stdout>:{line}")
}

fn end_line(cause: &Cause) -> String {
    let Cause { code, rank, headline, mut message, last_heard } = cause.clone();
    for heard in last_heard {
        message.push_str(&format!("\n{heard}"));
    }
    marked(&Relayed::Ended { code, rank, headline, message })
}

fn marked(relayed: &Relayed) -> String {
    let json = serde_json::to_string(relayed).unwrap_or_else(|e| unreachable!("it is JSON: {e}"));
    // Characters that a terminal must not receive are escaped by JSON's rules here, as JSON demands.
    format!("{MARK}{}", json_printable(&json))
}

/// Reads a line of a launcher's standard output as an event. A line without the mark, or from another version, is output.
pub fn parse(line: &str) -> Event {
    match line.strip_prefix(MARK).and_then(|json| serde_json::from_str(json).ok()) {
        Some(Relayed::Message { rank, message }) => Event::Message { rank, message },
        Some(Relayed::Ended { code, rank, headline, message }) => {
            Event::Ended { cause: Cause { code, rank, headline, message, last_heard: Vec::new() } }
        }
        None => {
            let (tag, line) = split_tag(line);
            let (rank, stream) = tag.map_or((None, Stream::Out), |(rank, stream)| (Some(rank), stream));
            Event::Output { rank, stream, line: line.to_owned() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::untrusted::printable_lines;
    use common::worker_contract::MicroBatches;

    fn passed_on(event: &Event) -> Event {
        parse(&Relay::default().line(event, Instant::now()).unwrap())
    }

    #[test]
    fn what_is_passed_on_arrives() {
        let said = FromRank::Exit { code: ExitCode::Data, message: "shard x\nis short".into() };
        let arrived = passed_on(&Event::Message { rank: Rank(3), message: said.clone() });
        assert!(matches!(arrived, Event::Message { rank: Rank(3), message } if message == said));
        for (rank, stream, text) in [
            (Some(Rank(12)), Stream::Out, "loss [1,2]<stderr>:x"),
            (Some(Rank(0)), Stream::Err, "error: [1,2]<stdout>:x"),
            (Some(Rank(0)), Stream::Err, ""),
            (None, Stream::Out, "mpirun noticed that"),
        ] {
            let arrived = passed_on(&Event::Output { rank, stream, line: text.into() });
            let Event::Output { rank: of, stream: on, line } = arrived else { panic!("{arrived:?}") };
            assert_eq!((of, on, line.as_str()), (rank, stream, text));
        }
        let cause = Cause {
            code: ExitCode::Communication,
            rank: Some(Rank(1)),
            headline: "rank lost".into(),
            message: "why".into(),
            last_heard: Vec::new(),
        };
        assert!(matches!(parse(&end_line(&cause)), Event::Ended { cause: arrived } if arrived == cause));
    }

    #[test]
    fn what_would_command_a_terminal_arrives_as_what_can_be_read() {
        let cause = Cause::new(ExitCode::Data, None, "a\u{1b}[2J\nb", "one\u{9b}\u{202e}\ntwo");
        let line = end_line(&cause);
        assert_eq!(printable_lines(&line), line, "it can be printed as it is");
        let Event::Ended { cause } = parse(&line) else { panic!("{line}") };
        assert_eq!((&*cause.headline, &*cause.message), ("a\\u{1b}[2J\\nb", "one\\u{9b}\\u{202e}\ntwo"));
    }

    #[test]
    fn a_phase_is_passed_on_once_for_each_rank() {
        let mut relay = Relay::default();
        let mut is_passed_on = |rank, phase| {
            let message = FromRank::Heartbeat { step: 1, phase, exchange: None, busy_s: 0.0, micro_batches: None };
            relay.line(&Event::Message { rank: Rank(rank), message }, Instant::now()).is_some()
        };
        let (starting, training) = (Phase::Starting, Phase::Training);
        let heartbeats = [(0, starting), (1, starting), (0, starting), (0, training), (0, training), (0, starting)];
        let passed_on = heartbeats.map(|(rank, phase)| is_passed_on(rank, phase));
        assert_eq!(passed_on, [true, true, false, true, false, true]);
    }

    #[test]
    fn progress_within_a_long_step_is_passed_on_for_one_rank_and_seldom() {
        let (mut relay, start) = (Relay::default(), Instant::now());
        let mut seconds_passed_on = |rank| -> Vec<u64> {
            let micro_batches = Some(MicroBatches { done: 1, all: 64 });
            let phase = Phase::Training;
            let message = FromRank::Heartbeat { step: 1, phase, exchange: None, busy_s: 0.0, micro_batches };
            let event = Event::Message { rank: Rank(rank), message };
            (0..30).filter(|second| relay.line(&event, start + Duration::from_secs(*second)).is_some()).collect()
        };
        assert_eq!(seconds_passed_on(0), [0, 10, 20]);
        assert_eq!(seconds_passed_on(1), [0]);
    }

    #[test]
    fn lines_of_progress_are_passed_on_seldom_and_all_others_are_passed_on() {
        let (mut relay, start) = (Relay::default(), Instant::now());
        let mut seconds_passed_on = |rank, text: &str| -> Vec<u64> {
            let event = Event::Output { rank: Some(Rank(rank)), stream: Stream::Out, line: text.into() };
            (0..12).filter(|second| relay.line(&event, start + Duration::from_secs(*second)).is_some()).collect()
        };
        assert_eq!(seconds_passed_on(0, "convoy-progress {}"), [0, 5, 10]);
        assert_eq!(seconds_passed_on(1, "convoy-progress {}"), [0, 5, 10]);
        assert_eq!(seconds_passed_on(0, "convoy-evaluated {}").len(), 12);
    }

    #[test]
    fn the_last_line_of_progress_of_each_rank_is_passed_on_in_the_end() {
        let (mut relay, start) = (Relay::default(), Instant::now());
        let mut is_passed_on = |rank, second: u64| {
            let line = format!("convoy-progress {second}");
            let event = Event::Output { rank: Some(Rank(rank)), stream: Stream::Out, line };
            relay.line(&event, start + Duration::from_secs(second)).is_some()
        };
        assert_eq!(
            [(0, 0), (0, 1), (0, 2), (1, 2), (1, 3), (1, 7)].map(|(r, s)| is_passed_on(r, s)),
            [true, false, false, true, false, true]
        );
        assert_eq!(relay.rest(), ["[1,0]<stdout>:convoy-progress 2"]);
        assert_eq!(relay.rest(), [""; 0]);
    }

    #[test]
    fn a_line_of_another_version_is_only_printed() {
        let line = format!("{MARK}{{\"kind\":\"dance\"}}");
        assert!(matches!(parse(&line), Event::Output { rank: None, line: shown, .. } if shown == line));
    }
}
