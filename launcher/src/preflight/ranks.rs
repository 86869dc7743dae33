//! Checks the hosts by ranks that run `worker check`, started as training would start them.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use common::config::RunConfig;
use common::exit_code::ExitCode;
use common::preflight::{FACTS_MARK, Finding, WorldFacts};
use common::topology::Rank;
use common::worker_contract::StartLine;

use crate::backend::{AttemptStart, Backend};
use crate::cause::Cause;
use crate::cause::evidence::{Evidence, Killed};
use crate::cause::words::{is_error, says_that_mpi_failed};
use crate::error::LaunchError;
use crate::event::Event;
use crate::interrupts::Interrupts;

/// Longest pause between looks at signals when the ranks say nothing.
const TICK: Duration = Duration::from_millis(100);
/// How long output of ended processes may still be on its way.
const DRAIN: Duration = Duration::from_secs(5);
/// How long ranks without MPI may continue, to say why.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long the check may take, with the start of the ranks.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Lines of the ranks' output that are shown where they report no facts.
const LINES_SHOWN: usize = 10;

/// Starts ranks that look at their hosts, and judges the facts they find. Returns `None` if somebody asked to stop.
pub fn check(
    config: &RunConfig,
    backend: &dyn Backend,
    interrupts: &mut Interrupts,
) -> Result<Option<Vec<Finding>>, LaunchError> {
    let leaving = interrupts.leave_meanwhile("the hosts");
    let placed = backend.place();
    drop(leaving);
    let placement = match placed {
        Ok(placement) => placement,
        Err(error) => return Ok(Some(vec![Finding::failed("hosts", error.to_string())])),
    };
    let start_line = StartLine::without_attempt(config);
    let signalled = interrupts.signalled();
    let start = AttemptStart { number: 0, placement: &placement, start_line: Some(&start_line), gives_up: &signalled };
    let (sender, events) = mpsc::channel();
    let mut ranks = backend.start(&start, &sender)?;
    drop(sender);
    let mut heard = Heard::default();
    let (begun, mut killed) = (Instant::now(), None);
    while !ranks.have_ended() {
        heard.next(&events, TICK);
        if interrupts.poll().is_some() {
            ranks.finish().map_err(LaunchError::system("wait for the ranks"))?;
            return Ok(None);
        }
        if let (None, Some(rank)) = (&killed, heard.without_mpi) {
            let until = Instant::now() + LAST_WORDS;
            while heard.next(&events, until.saturating_duration_since(Instant::now())) {}
            killed = Some(Killed::NoMpi { rank });
            ranks.kill();
        }
        if killed.is_none() && begun.elapsed() > TIMEOUT {
            killed = Some(Killed::Stalled { stall_timeout_s: TIMEOUT.as_secs() });
            ranks.kill();
        }
    }
    let process = ranks.finish().map_err(LaunchError::system("wait for the ranks"))?;
    let until = Instant::now() + DRAIN;
    while heard.next(&events, until.saturating_duration_since(Instant::now())) {}
    let Heard { facts, lines, first_error, mpirun_words, .. } = heard;
    let last_heard = Vec::new();
    let evidence = Evidence { first_failure: None, killed, told: None, process, mpirun_words, first_error, last_heard };
    let found = findings(facts, &lines, &Cause::of(&evidence))?;
    Ok(Some([vec![placement.finding()], found].concat()))
}

/// What follows from the ranks' `facts`, or from the `lines` that they have printed, where they ended because of `cause`.
fn findings(
    facts: Option<serde_json::Result<WorldFacts>>,
    lines: &[String],
    cause: &Cause,
) -> Result<Vec<Finding>, LaunchError> {
    match facts {
        // Of ranks that failed, half a line may be all that is left.
        Some(facts) if cause.code == ExitCode::Done => Ok(facts.map_err(LaunchError::UnreadableFacts)?.judge()),
        _ => {
            let last = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
            let text = [&*cause.headline, &cause.message, &last].join("\n").trim_end().to_owned();
            Ok(vec![Finding::failed("ranks", text)])
        }
    }
}

/// What the ranks have printed.
#[derive(Default)]
struct Heard {
    facts: Option<serde_json::Result<WorldFacts>>,
    lines: Vec<String>,
    first_error: Option<(Rank, String)>,
    mpirun_words: Vec<String>,
    /// Who said that MPI could not start.
    without_mpi: Option<Option<Rank>>,
}

impl Heard {
    /// Takes one event up, if there is one within `patience`; false where there will be none any more.
    fn next(&mut self, events: &Receiver<Event>, patience: Duration) -> bool {
        match events.recv_timeout(patience) {
            Ok(Event::Output { rank, line, .. }) => {
                if says_that_mpi_failed(&line) {
                    self.without_mpi.get_or_insert(rank);
                }
                match (line.strip_prefix(FACTS_MARK), rank) {
                    (Some(json), _) => self.facts = Some(serde_json::from_str(json)),
                    (None, Some(rank)) => {
                        if self.first_error.is_none() && is_error(&line) {
                            self.first_error = Some((rank, line.clone()));
                        }
                        self.lines.push(line);
                    }
                    (None, None) => self.mpirun_words.push(line),
                }
            }
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => {
                // Every process has closed its outputs and is about to end.
                std::thread::sleep(TICK.min(patience));
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_that_cannot_be_read_are_a_bug_where_their_ranks_have_not_failed() {
        let broken = || Some(serde_json::from_str("{\"ranks\":"));
        let done = Cause::new(ExitCode::Done, None, "done", "");
        assert_eq!(findings(broken(), &[], &done).unwrap_err().exit_code(), ExitCode::Bug);
        let lost = Cause::new(ExitCode::Communication, None, "rank 1 lost", "killed");
        let found = findings(broken(), &["the last line".to_owned()], &lost).unwrap();
        assert_eq!(found, [Finding::failed("ranks", "rank 1 lost\nkilled\nthe last line")]);
    }
}
